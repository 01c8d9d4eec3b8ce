using LazyMount.Output;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Finding;

/// <summary>The actions of find that have no arguments and no state.</summary>
internal static class FindActions
{
    /// <summary>A path a line.</summary>
    public static void Print(FindRun run)
    {
        run.Output.WriteName(run.Path);
        run.Output.WriteLine();
    }

    /// <summary>Paths, each ended by a zero byte.</summary>
    public static void PrintZero(FindRun run)
    {
        run.Output.WriteName(run.Path);
        run.Output.Write("\0"u8);
    }

    /// <summary>An object of JSON a line.</summary>
    public static void PrintJson(FindRun run) => run.Json.Write(EntryListing.Of(run.Tree, run.Node, run.AbsolutePath), ListingJson.Default.EntryListing);

    /// <summary>The letter of a type in <c>-type</c> and <c>%y</c>.</summary>
    public static char TypeLetter(uint mode) => (mode & FileMode.TypeMask) switch
    {
        FileMode.Regular => 'f',
        FileMode.Directory => 'd',
        FileMode.Symlink => 'l',
        FileMode.CharacterDevice => 'c',
        FileMode.BlockDevice => 'b',
        FileMode.Fifo => 'p',
        _ => 'U',
    };
}
