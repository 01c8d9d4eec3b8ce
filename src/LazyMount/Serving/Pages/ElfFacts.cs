using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace LazyMount.Serving.Pages;

/// <summary>What the headers of an ELF file tell (elf(5)). Reads a few kilobytes of it; what makes no sense is left out.</summary>
internal static class ElfFacts
{
    private const int MaxHeaders = 64 << 10, MaxDynamic = 64 << 10, MaxText = 4 << 10, MaxLibraries = 200;

    private static string MachineOf(int number) => number switch
    {
        3 => "x86",
        8 => "MIPS",
        20 => "PowerPC",
        21 => "PowerPC 64",
        22 => "S/390",
        40 => "ARM",
        62 => "x86-64",
        183 => "AArch64",
        243 => "RISC-V",
        258 => "LoongArch",
        _ => $"number {number}",
    };

    private readonly record struct Segment(uint Type, long Offset, long Address, long FileSize);

    /// <summary>The facts, or null when it is no ELF file.</summary>
    /// <param name="head">The beginning of the file.</param>
    /// <param name="size">Its size.</param>
    /// <param name="read">Reads bytes of it.</param>
    public static async Task<IReadOnlyList<(string Title, string Value)>?> ReadAsync(byte[] head, long size, Func<long, int, Task<byte[]>> read)
    {
        if (head.Length < 64 || !head.AsSpan().StartsWith("\u007FELF"u8) || head[4] is not (1 or 2) || head[5] is not (1 or 2))
        {
            return null;
        }
        var reader = new Reader(head[4] == 2, head[5] == 2);
        List<(string, string)> facts = [];
        int type = reader.Half(head, 16), machine = reader.Half(head, 18);
        facts.Add(("Class", $"{(reader.Is64 ? "64" : "32")}-bit, {(reader.IsBig ? "big" : "little")} endian"));
        facts.Add(("Kind", type switch { 1 => "relocatable object", 2 => "executable", 3 => "shared object or position-independent executable", 4 => "core dump", _ => $"type {type}" }));
        facts.Add(("Machine", MachineOf(machine)));
        facts.Add(("Entry", "0x" + reader.Word(head, 24).ToString("x", CultureInfo.InvariantCulture)));

        long at = reader.Word(head, reader.Is64 ? 32 : 28);
        int each = reader.Half(head, reader.Is64 ? 54 : 42), count = reader.Half(head, reader.Is64 ? 56 : 44);
        if (each != (reader.Is64 ? 56 : 32) || at <= 0 || at >= size)
        {
            return facts;
        }
        byte[] table = await read(at, Math.Min(each * count, MaxHeaders));
        List<Segment> segments = [];
        for (int start = 0; start + each <= table.Length; start += each)
        {
            segments.Add(reader.Is64
                ? new Segment((uint)reader.Int(table, start), reader.Word(table, start + 8), reader.Word(table, start + 16), reader.Word(table, start + 32))
                : new Segment((uint)reader.Int(table, start), reader.Word(table, start + 4), reader.Word(table, start + 8), reader.Word(table, start + 16)));
        }
        foreach (Segment segment in segments.Where(each => each.Offset >= 0 && each.Offset < size && each.FileSize > 0))
        {
            switch (segment.Type)
            {
                case 3: // PT_INTERP
                    facts.Add(("Interpreter", Text(await read(segment.Offset, (int)Math.Min(segment.FileSize, MaxText)), 0)));
                    break;
                case 4: // PT_NOTE
                    AddBuildId(facts, reader, await read(segment.Offset, (int)Math.Min(segment.FileSize, MaxText)));
                    break;
                case 2: // PT_DYNAMIC
                    await AddDynamicAsync(facts, reader, segments, await read(segment.Offset, (int)Math.Min(segment.FileSize, MaxDynamic)), size, read);
                    break;
            }
        }
        return facts;
    }

    private static void AddBuildId(List<(string, string)> facts, Reader reader, byte[] notes)
    {
        for (int at = 0; at + 12 <= notes.Length;)
        {
            uint nameSize = (uint)reader.Int(notes, at), length = (uint)reader.Int(notes, at + 4);
            long start = at + 12L + ((nameSize + 3L) & ~3L), end = start + ((length + 3L) & ~3L);
            if (start + length > notes.Length || end <= at)
            {
                return;
            }
            if (reader.Int(notes, at + 8) == 3 && notes.AsSpan(at + 12).StartsWith("GNU\0"u8) && nameSize == 4)
            {
                facts.Add(("Build ID", Convert.ToHexStringLower(notes.AsSpan((int)start, (int)length))));
                return;
            }
            at = (int)Math.Min(end, notes.Length);
        }
    }

    private static async Task AddDynamicAsync(List<(string, string)> facts, Reader reader, List<Segment> segments, byte[] dynamic, long size, Func<long, int, Task<byte[]>> read)
    {
        int step = reader.Is64 ? 16 : 8;
        List<(long Tag, long Value)> entries = [];
        for (int at = 0; at + step <= dynamic.Length && reader.Word(dynamic, at) is not 0 and var tag; at += step)
        {
            entries.Add((tag, reader.Word(dynamic, at + (step / 2))));
        }
        long address = entries.Find(entry => entry.Tag == 5).Value; // DT_STRTAB
        Segment load = segments.Find(segment => segment.Type == 1 && address >= segment.Address && address - segment.Address < segment.FileSize);
        long strings = address - load.Address + load.Offset;
        if (load.FileSize == 0 || strings < 0)
        {
            return;
        }
        List<string> libraries = [];
        foreach ((long tag, long value) in entries.Where(entry => entry.Tag is 1 or 14 or 15 or 29).Take(MaxLibraries))
        {
            if (value < 0 || strings + value < 0 || strings + value >= size)
            {
                continue;
            }
            string text = Text(await read(strings + value, 256), 0);
            if (tag == 1)
            {
                libraries.Add(text);
            }
            else
            {
                facts.Add((tag == 14 ? "Its name" : "Library path", text));
            }
        }
        facts.Add(("Needs", libraries.Count == 0 ? "no library" : string.Join(", ", libraries)));
    }

    private static string Text(byte[] bytes, int start)
    {
        int end = bytes.AsSpan(start).IndexOf((byte)0);
        return Encoding.UTF8.GetString(bytes, start, end < 0 ? bytes.Length - start : end);
    }

    private readonly record struct Reader(bool Is64, bool IsBig)
    {
        public int Half(byte[] bytes, int at) => IsBig ? BinaryPrimitives.ReadUInt16BigEndian(bytes.AsSpan(at)) : BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(at));

        public int Int(byte[] bytes, int at) => IsBig ? BinaryPrimitives.ReadInt32BigEndian(bytes.AsSpan(at)) : BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at));

        /// <summary>An address or offset.</summary>
        public long Word(byte[] bytes, int at) => !Is64 ? (uint)Int(bytes, at) : IsBig ? BinaryPrimitives.ReadInt64BigEndian(bytes.AsSpan(at)) : BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(at));
    }
}
