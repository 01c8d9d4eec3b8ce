using System.Buffers;
using System.Buffers.Text;
using System.Globalization;
using System.Text;
using System.Text.Json;
using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;

namespace LazyMount.Indexes.Toc;

/// <summary>
/// Reads the JSON that eStargz and zstd:chunked share: <c>{"version":1,"entries":[…]}</c>
/// (stargz-snapshotter docs/estargz.md, "TOC, TOCEntries"; containers/storage pkg/chunked/internal, FileMetadata). One entry
/// at a time, for a layer can have a million; unknown properties are passed over.
/// <para>Go's encoder writes U+FFFD for bytes that are not UTF-8. A name that holds it may be another name: such a table is
/// refused, and the tar, which has the bytes, is read instead.</para>
/// </summary>
internal ref struct TocJson
{
    private const int Version = 1;

    // Of an entry: the object, its xattrs. What is passed over may nest a little.
    private const int MaxDepth = 16;

    private static readonly byte[] s_replacement = "\uFFFD"u8.ToArray();

    private readonly ByteBuffer _text = new();
    private Utf8JsonReader _reader;

    private TocJson(ReadOnlySpan<byte> json)
        => _reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = MaxDepth });

    /// <summary>Gives each entry to a builder.</summary>
    /// <exception cref="InvalidDataException">It is not such JSON, or the builder found something wrong.</exception>
    public static void Read(ReadOnlySpan<byte> json, TocIndexBuilder builder)
    {
        var toc = new TocJson(json);
        try
        {
            toc.Read(builder);
        }
        // The reader has a JsonException for what is no JSON, and InvalidOperationException for a string that is no text.
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new InvalidDataException($"its JSON is malformed near byte {toc._reader.BytesConsumed}", e);
        }
    }

    private void Read(TocIndexBuilder builder)
    {
        long? version = null;
        bool hasEntries = false;
        Next();
        Expect(JsonTokenType.StartObject);
        while (NextProperty())
        {
            if (_reader.ValueTextEquals("version"u8))
            {
                Next();
                version = Integer();
            }
            else if (_reader.ValueTextEquals("entries"u8) && !hasEntries)
            {
                hasEntries = true;
                Next();
                ReadEntries(builder);
            }
            else
            {
                _reader.Skip();
            }
        }
        if (_reader.Read())
        {
            throw new JsonException();
        }
        if (version != Version || !hasEntries)
        {
            throw new InvalidDataException(version == Version ? "it has no entries" : $"its version is {version?.ToString(CultureInfo.InvariantCulture) ?? "missing"}, and only {Version} is supported");
        }
    }

    private void ReadEntries(TocIndexBuilder builder)
    {
        if (_reader.TokenType == JsonTokenType.Null)
        {
            return; // Go's empty list
        }
        Expect(JsonTokenType.StartArray);
        while (true)
        {
            Next();
            if (_reader.TokenType == JsonTokenType.EndArray)
            {
                break;
            }
            Expect(JsonTokenType.StartObject);
            TocEntry entry = builder.NextEntry();
            ReadEntry(entry);
            builder.Add(entry);
        }
    }

    private void ReadEntry(TocEntry entry)
    {
        TarMember member = entry.Member;
        bool hasType = false;
        while (NextProperty())
        {
            ReadOnlySpan<byte> key = _reader.HasValueSequence || _reader.ValueIsEscaped ? default : _reader.ValueSpan;
            Next();
            if (_reader.TokenType == JsonTokenType.Null)
            {
                continue; // Go's: as if it were not there
            }
            switch (key)
            {
                case var _ when key.SequenceEqual("name"u8):
                    member.PathBuffer.Set(Name());
                    break;
                case var _ when key.SequenceEqual("type"u8):
                    ReadType(entry);
                    hasType = true;
                    break;
                case var _ when key.SequenceEqual("linkName"u8):
                    member.LinkBuffer.Set(Name());
                    break;
                case var _ when key.SequenceEqual("size"u8):
                    member.Size = NotNegative(key);
                    break;
                case var _ when key.SequenceEqual("mode"u8):
                    member.Mode = TarMember.ModeOf(Integer());
                    break;
                case var _ when key.SequenceEqual("uid"u8):
                    member.Uid = TarMember.IdOf(Integer()) ?? throw Wrong(key);
                    break;
                case var _ when key.SequenceEqual("gid"u8):
                    member.Gid = TarMember.IdOf(Integer()) ?? throw Wrong(key);
                    break;
                case var _ when key.SequenceEqual("modtime"u8):
                    (member.MtimeSeconds, member.MtimeNanoseconds) = ParseTime(Text()) ?? throw Wrong(key);
                    break;
                case var _ when key.SequenceEqual("devMajor"u8):
                    member.DeviceMajor = TarMember.DeviceMajorOf(Integer());
                    break;
                case var _ when key.SequenceEqual("devMinor"u8):
                    member.DeviceMinor = TarMember.DeviceMinorOf(Integer());
                    break;
                case var _ when key.SequenceEqual("xattrs"u8):
                    ReadXattrs(member);
                    break;
                case var _ when key.SequenceEqual("digest"u8):
                    entry.HasDigest = ReadDigest(entry.DigestBuffer);
                    break;
                case var _ when key.SequenceEqual("chunkDigest"u8):
                    entry.HasChunkDigest = ReadDigest(entry.ChunkDigestBuffer);
                    break;
                case var _ when key.SequenceEqual("offset"u8):
                    entry.CompressedOffset = NotNegative(key);
                    break;
                case var _ when key.SequenceEqual("innerOffset"u8):
                    entry.InnerOffset = NotNegative(key);
                    break;
                case var _ when key.SequenceEqual("chunkOffset"u8):
                    entry.ChunkOffset = NotNegative(key);
                    break;
                case var _ when key.SequenceEqual("chunkSize"u8):
                    entry.ChunkSize = NotNegative(key);
                    break;
                case var _ when key.SequenceEqual("chunkType"u8):
                    ReadOnlySpan<byte> type = Text();
                    entry.IsHole = type.SequenceEqual("zeros"u8);
                    if (!entry.IsHole && !type.IsEmpty)
                    {
                        throw Wrong(key);
                    }
                    break;
                default:
                    _reader.Skip();
                    break;
            }
        }
        if (!hasType)
        {
            throw new InvalidDataException($"{TarText.Quote(member.Path)} has no type");
        }
    }

    private void ReadType(TocEntry entry)
    {
        ReadOnlySpan<byte> type = Text();
        entry.IsChunk = type.SequenceEqual("chunk"u8);
        entry.Member.Type = type switch
        {
            _ when entry.IsChunk || type.SequenceEqual("reg"u8) => EntryType.File,
            _ when type.SequenceEqual("dir"u8) => EntryType.Directory,
            _ when type.SequenceEqual("symlink"u8) => EntryType.Symlink,
            _ when type.SequenceEqual("hardlink"u8) => EntryType.HardLink,
            _ when type.SequenceEqual("char"u8) => EntryType.CharacterDevice,
            _ when type.SequenceEqual("block"u8) => EntryType.BlockDevice,
            _ when type.SequenceEqual("fifo"u8) => EntryType.Fifo,
            _ => throw new InvalidDataException($"{TarText.Quote(type)} is not a type of an entry"),
        };
    }

    // Values in base64, in both formats.
    private void ReadXattrs(TarMember member)
    {
        Expect(JsonTokenType.StartObject);
        while (NextProperty())
        {
            byte[] name = Name().ToArray();
            Next();
            if (_reader.TokenType == JsonTokenType.Null)
            {
                member.AddXattr(name, default);
                continue;
            }
            Expect(JsonTokenType.String);
            ReadOnlySpan<byte> text = Text();
            byte[] value = new byte[Base64.GetMaxDecodedFromUtf8Length(text.Length)];
            if (Base64.DecodeFromUtf8(text, value, out _, out int length) != OperationStatus.Done)
            {
                throw new InvalidDataException($"the attribute {TarText.Quote(name)} of {TarText.Quote(member.Path)} is not base64");
            }
            member.AddXattr(name, value.AsSpan(0, length));
        }
    }

    // "sha256:…"; an empty one is none. Other algorithms are not used by anybody, and the index has no place for them.
    private bool ReadDigest(Span<byte> hash)
    {
        ReadOnlySpan<byte> text = Text();
        if (text.IsEmpty)
        {
            return false;
        }
        return text.StartsWith("sha256:"u8) && text.Length == "sha256:".Length + 2 * hash.Length
            && Convert.FromHexString(text["sha256:".Length..], hash, out _, out _) == OperationStatus.Done
                ? true
                : throw new InvalidDataException($"{TarText.Quote(text)} is not a SHA-256 digest");
    }

    /// <summary>A time, or null for what is none. Empty is the epoch, which eStargz leaves out. Writers never mean the year 0.</summary>
    internal static (long Seconds, uint Nanoseconds)? ParseTime(ReadOnlySpan<byte> text)
        => text.IsEmpty ? (0, 0) : text.StartsWith("0000"u8) ? null : Rfc3339.TryParse(text);

    private ReadOnlySpan<byte> Name()
    {
        ReadOnlySpan<byte> name = Text();
        return name.IndexOf(s_replacement) < 0
            ? name
            : throw new InvalidDataException($"the name {TarText.Quote(name)} may have lost bytes that are not UTF-8");
    }

    // Valid until the next call.
    private ReadOnlySpan<byte> Text()
    {
        if (_reader.TokenType is not (JsonTokenType.String or JsonTokenType.PropertyName))
        {
            throw new JsonException();
        }
        Span<byte> buffer = _text.Resize(_reader.ValueSpan.Length);
        return buffer[.._reader.CopyString(buffer)];
    }

    private readonly long Integer()
        => _reader.TokenType == JsonTokenType.Number && _reader.TryGetInt64(out long value) ? value : throw new JsonException();

    // Of sizes and places. Ids may be negative: IdOf knows them.
    private readonly long NotNegative(ReadOnlySpan<byte> key) => Integer() is >= 0 and var value ? value : throw Wrong(key);

    private readonly void Expect(JsonTokenType type)
    {
        if (_reader.TokenType != type)
        {
            throw new JsonException();
        }
    }

    private void Next()
    {
        if (!_reader.Read())
        {
            throw new JsonException();
        }
    }

    // False at the object's end.
    private bool NextProperty()
    {
        Next();
        return _reader.TokenType != JsonTokenType.EndObject;
    }

    private static InvalidDataException Wrong(ReadOnlySpan<byte> key) => new($"a {Encoding.UTF8.GetString(key)} in it has an impossible value");
}
