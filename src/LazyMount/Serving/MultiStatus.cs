using System.Globalization;
using System.IO.Pipelines;
using System.Security;
using System.Text;
using System.Xml;

namespace LazyMount.Serving;

/// <summary>What WebDAV is told of a file or directory.</summary>
/// <param name="Href">Its path in URLs, ASCII.</param>
/// <param name="IsDirectory">A collection.</param>
/// <param name="Size">Bytes of a file.</param>
/// <param name="Tag">The entity tag of a file; null for a directory.</param>
/// <param name="Time">When it was last modified; null when no calendar has the time.</param>
internal readonly record struct DavEntry(string Href, bool IsDirectory, long Size, string? Tag, DateTimeOffset? Time);

/// <summary>Writes the answer to a PROPFIND entry by entry, so that a directory of any size takes the memory of a few.</summary>
internal sealed class MultiStatus(PipeWriter output, PropfindRequest wanted)
{
    private const int FlushSize = 16 << 10;

    private readonly StringBuilder _text = new();

    public void Begin() => _text.Append("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\">\n");

    public ValueTask WriteAsync(in DavEntry entry, CancellationToken cancellationToken)
    {
        _text.Append("<D:response><D:href>").Append(entry.Href).Append("</D:href><D:propstat><D:prop>");
        List<XmlQualifiedName> missing = [];
        if (wanted.Names is null)
        {
            foreach (string name in (string[])["resourcetype", "getcontentlength", "getlastmodified", "getetag", "getcontenttype"])
            {
                _ = TryAppend(entry, name);
            }
        }
        else
        {
            foreach (XmlQualifiedName name in wanted.Names)
            {
                if (name.Namespace != PropfindRequest.Dav || !TryAppend(entry, name.Name))
                {
                    missing.Add(name);
                }
            }
        }
        _text.Append("</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>");
        if (missing.Count > 0)
        {
            _text.Append("<D:propstat><D:prop>");
            foreach (XmlQualifiedName name in missing)
            {
                _text.Append('<').Append(name.Name).Append(" xmlns=\"").Append(SecurityElement.Escape(name.Namespace)).Append("\"/>");
            }
            _text.Append("</D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>");
        }
        _text.Append("</D:response>\n");
        return _text.Length < FlushSize ? ValueTask.CompletedTask : FlushAsync(cancellationToken);
    }

    public ValueTask EndAsync(CancellationToken cancellationToken)
    {
        _text.Append("</D:multistatus>\n");
        return FlushAsync(cancellationToken);
    }

    private bool TryAppend(in DavEntry entry, string name)
    {
        string? value = name switch
        {
            "resourcetype" => entry.IsDirectory ? "<D:collection/>" : "",
            "getcontentlength" when !entry.IsDirectory => entry.Size.ToString(CultureInfo.InvariantCulture),
            "getlastmodified" => entry.Time?.ToString("R", CultureInfo.InvariantCulture),
            "getetag" => entry.Tag,
            "getcontenttype" when !entry.IsDirectory => "application/octet-stream",
            _ => null,
        };
        if (value is null)
        {
            return false;
        }
        _text.Append("<D:").Append(name);
        _ = wanted.IsNamesOnly || value.Length == 0 ? _text.Append("/>") : _text.Append('>').Append(value).Append("</D:").Append(name).Append('>');
        return true;
    }

    private async ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        foreach (ReadOnlyMemory<char> chunk in _text.GetChunks())
        {
            Encoding.UTF8.GetBytes(chunk.Span, output);
        }
        _text.Clear();
        await output.FlushAsync(cancellationToken);
    }
}
