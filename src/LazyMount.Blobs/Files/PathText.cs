using System.Collections.Concurrent;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Files;

/// <summary>
/// Paths are bytes, and .NET has them as text. Bytes that are not UTF-8 become lone surrogates, U+DC80 to U+DCFF, and bytes again
/// on the way back, as Python has it (PEP 383). .NET's own file calls would put U+FFFD for them and so name another file: they
/// get the path from <see cref="ForCalls"/>.
/// </summary>
public static class PathText
{
    private const int Escape = 0xDC00;

    // Directories and files whose names are not UTF-8: a process names one or two of them. They stay open.
    private static readonly ConcurrentDictionary<string, SafeFileHandle> s_open = new(StringComparer.Ordinal);

    /// <summary>Text for bytes, whatever they are.</summary>
    public static string Decode(ReadOnlySpan<byte> bytes)
    {
        var text = new StringBuilder(bytes.Length);
        while (!bytes.IsEmpty)
        {
            bool isText = Rune.DecodeFromUtf8(bytes, out Rune rune, out int length) == System.Buffers.OperationStatus.Done;
            if (isText)
                text.Append(rune.ToString());
            for (int i = 0; i < length && !isText; i++)
                text.Append((char)(Escape + bytes[i]));
            bytes = bytes[length..];
        }
        return text.ToString();
    }

    /// <summary>The bytes that <see cref="Decode"/> made text of.</summary>
    public static byte[] Encode(string text)
    {
        if (IsText(text))
            return Encoding.UTF8.GetBytes(text);
        var bytes = new List<byte>(text.Length);
        Span<byte> utf8 = stackalloc byte[4];
        for (int i = 0; i < text.Length; i++)
        {
            if (Rune.TryGetRuneAt(text, i, out Rune rune))
            {
                bytes.AddRange(utf8[..rune.EncodeToUtf8(utf8)]);
                i += rune.Utf16SequenceLength - 1;
            }
            else
            {
                bytes.Add((byte)text[i]);
            }
        }
        return [.. bytes];
    }

    /// <summary>A path as system calls take it: its bytes and a zero.</summary>
    public static byte[] ToNative(string path) => Encode(path + '\0');

    /// <summary>True when every byte of the path is text, so that .NET's file calls can be given the path itself.</summary>
    public static bool IsText(string path)
    {
        for (int i = 0; i < path.Length; i++)
        {
            if (!Rune.TryGetRuneAt(path, i, out Rune rune))
                return false;
            i += rune.Utf16SequenceLength - 1;
        }
        return true;
    }

    /// <summary>
    /// The path to give to .NET's file calls, which reaches the same file: the path itself, or one below /proc/self/fd when a
    /// part of it is not UTF-8. What is not there (yet) is left as it is. Opens nothing but such a path, and never waits.
    /// </summary>
    public static string ForCalls(string path)
    {
        if (IsText(path))
            return path;
        // Everything up to the last name that is not text is opened; below it all is text.
        int end = path.Length;
        for (int slash; IsText(path[((slash = path.LastIndexOf('/', end - 1)) + 1)..end]);)
            end = slash;
        string prefix = path[..end];
        try
        {
            if (s_open.TryGetValue(prefix, out SafeFileHandle? known) && FileIdentity.TryOf(known) is { } was && FileIdentity.TryOf(prefix) is { } now && was.IsSameFile(now))
                return NameOf(known) + path[end..];
            SafeFileHandle opened = Interop.Open(prefix, Interop.PathOnly);
            s_open[prefix] = opened;
            return NameOf(opened) + path[end..];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return path;
        }
    }

    /// <summary>As <see cref="Path.GetFullPath(string)"/>, in a current directory of any name.</summary>
    public static string FullPath(string path) => Path.GetFullPath(path, Path.IsPathRooted(path) ? "/" : CurrentDirectory());

    /// <summary>A variable of the environment as text that keeps all bytes; null when it is not set or empty.</summary>
    public static string? FromEnvironment(string name)
    {
        string? value = Environment.GetEnvironmentVariable(name);
        if (value?.Contains('\uFFFD') == true && Interop.StartEnvironment(name) is { } bytes)
            value = Decode(bytes);
        return string.IsNullOrEmpty(value) ? null : value;
    }

    /// <summary>
    /// What relative paths are relative to, in the place of the current directory: a process that takes over from another must not enter
    /// the directory that the other one was started in, for it may be on the mount that they serve.
    /// </summary>
    public static string? StartDirectory { get; set; }

    /// <summary>The current directory, or what stands in its place.</summary>
    public static string CurrentDirectory()
    {
        if (StartDirectory is { } start)
            return start;
        string directory = Directory.GetCurrentDirectory();
        return directory.Contains('\uFFFD') && Interop.CurrentDirectory() is { } bytes ? Decode(bytes) : directory;
    }

    private static string NameOf(SafeFileHandle file) => $"/proc/self/fd/{file.DangerousGetHandle()}";
}
