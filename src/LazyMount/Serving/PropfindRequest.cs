using System.Xml;
using Microsoft.AspNetCore.Http;

namespace LazyMount.Serving;

/// <summary>What a PROPFIND asks for (RFC 4918, 9.1).</summary>
/// <param name="Names">The properties that are asked for by name; null: all of them.</param>
/// <param name="IsNamesOnly">Only the names of the properties are wanted.</param>
internal sealed record PropfindRequest(IReadOnlyList<XmlQualifiedName>? Names, bool IsNamesOnly)
{
    /// <summary>The namespace of WebDAV.</summary>
    public const string Dav = "DAV:";

    private const int MaxProperties = 200;

    private static readonly XmlReaderSettings s_settings = new() { Async = true, DtdProcessing = DtdProcessing.Prohibit, XmlResolver = null, MaxCharactersInDocument = WebServer.MaxBody };

    /// <summary>Reads the body. Null when it is not a propfind element.</summary>
    public static async Task<PropfindRequest?> ReadAsync(HttpRequest request)
    {
        if (request.ContentLength is 0 || (request.ContentLength is null && !request.Headers.ContainsKey("Transfer-Encoding")))
        {
            return new PropfindRequest(null, false);
        }
        try
        {
            using var xml = XmlReader.Create(request.Body, s_settings);
            if (await xml.MoveToContentAsync() != XmlNodeType.Element || xml is not { LocalName: "propfind", NamespaceURI: Dav })
            {
                return null;
            }
            PropfindRequest? found = null;
            while (await xml.ReadAsync())
            {
                if (xml.NodeType != XmlNodeType.Element || xml.NamespaceURI != Dav || xml.Depth != 1)
                {
                    continue;
                }
                switch (xml.LocalName)
                {
                    case "allprop":
                        found ??= new PropfindRequest(null, false);
                        break;
                    case "propname":
                        found ??= new PropfindRequest(null, true);
                        break;
                    case "prop":
                        found ??= new PropfindRequest(await ReadNamesAsync(xml), false);
                        break;
                }
            }
            return found is { Names.Count: > MaxProperties } ? null : found;
        }
        catch (XmlException)
        {
            return null;
        }
    }

    private static async Task<List<XmlQualifiedName>> ReadNamesAsync(XmlReader xml)
    {
        List<XmlQualifiedName> names = [];
        if (xml.IsEmptyElement)
        {
            return names;
        }
        while (await xml.ReadAsync() && xml.Depth > 1)
        {
            if (xml is { NodeType: XmlNodeType.Element, Depth: 2 } && names.Count <= MaxProperties)
            {
                names.Add(new XmlQualifiedName(xml.LocalName, xml.NamespaceURI));
            }
        }
        return names;
    }
}
