using System.Text.Json;
using System.Text.Json.Nodes;

namespace LazyMount.TestKit;

/// <summary>flatc(1), which turns FlatBuffers into JSON and back, with the schema of SOCI's ztoc (version 0.9).</summary>
public sealed class Flatc
{
    private const string Schema = """
        namespace ztoc;
        enum CompressionAlgorithm : byte { Gzip = 1, Uncompressed }
        table Xattr { key : string; value : string; }
        table FileMetadata {
          name : string; type : string; uncompressed_offset : long; uncompressed_size : long; linkname : string;
          mode : long; uid : uint32; gid : uint32; uname : string; gname : string; mod_time : string;
          devmajor : long; devminor : long; xattrs : [Xattr];
        }
        table CompressionInfo {
          compression_algorithm : CompressionAlgorithm = Gzip; max_span_id : int; span_digests : [string]; checkpoints : [ubyte];
        }
        table TOC { metadata : [FileMetadata]; }
        table Ztoc {
          version : string; build_tool_identifier : string; compressed_archive_size : long; uncompressed_archive_size : long;
          toc : TOC; compression_info : CompressionInfo;
        }
        root_type Ztoc;
        """;

    private readonly string _directory;
    private readonly string _schema;

    public Flatc(TemporaryDirectory directory)
    {
        _directory = directory.CreateDirectory("flatc");
        _schema = Path.Combine(_directory, "ztoc.fbs");
        File.WriteAllText(_schema, Schema);
    }

    /// <summary>Strings that are not UTF-8 come as their bytes in \x escapes, which <see cref="FromJson"/> gives back.</summary>
    public JsonObject ToJson(byte[] ztoc)
    {
        string binary = Path.Combine(_directory, "read.bin");
        File.WriteAllBytes(binary, ztoc);
        Tool.Run("flatc", "--json", "--strict-json", "--raw-binary", "--allow-non-utf8", "-o", _directory, _schema, "--", binary).EnsureSuccess();
        string json = File.ReadAllText(Path.Combine(_directory, "read.json"));
        return JsonNode.Parse(json.Replace("\\x", "\\\\x", StringComparison.Ordinal))!.AsObject();
    }

    public byte[] FromJson(JsonObject json)
    {
        string text = Path.Combine(_directory, "written.json");
        File.WriteAllText(text, json.ToJsonString(s_plain).Replace("\\\\x", "\\x", StringComparison.Ordinal));
        Tool.Run("flatc", "--binary", "--allow-non-utf8", "-o", _directory, _schema, text).EnsureSuccess();
        return File.ReadAllBytes(Path.Combine(_directory, "written.bin"));
    }

    private static readonly JsonSerializerOptions s_plain = new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
}
