namespace LazyMount.MountTests.Simulation;

/// <summary>Something that the script has broken, for a while. One thread begins and ends it, others ask.</summary>
internal sealed class Breakage
{
    private int _turns; // odd while it holds

    public bool Holds => Mark() % 2 != 0;

    public void Begin()
    {
        if (!Holds)
            Interlocked.Increment(ref _turns);
    }

    public void End()
    {
        if (Holds)
            Interlocked.Increment(ref _turns);
    }

    /// <summary>The moment at which an operation begins.</summary>
    public int Mark() => Volatile.Read(ref _turns);

    /// <summary>It held at some moment since the mark was taken.</summary>
    public bool HeldSince(int mark) => mark % 2 != 0 || Mark() != mark;
}
