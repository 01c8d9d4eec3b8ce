namespace LazyMount.FileSystem;

/// <summary>
/// Bounds the time that merging takes by the size of its input, whatever the shape: how many names are looked up. Each path of a
/// layer and eight names for each entry cost nothing; beyond those all layers of an image share one budget. Honest layers use
/// some thousands.
/// </summary>
internal sealed class WalkBudget
{
    // As containerd has it, in one look-up.
    private const int MaxFollowedLinks = 255;

    // A second or two of look-ups.
    private const long MaxNames = 20_000_000;

    // As deep as entries below a symbolic link of their own layer usually stand, link targets included.
    private const long NamesOfEntry = 8;

    private long _left = MaxNames;
    private int _followedLinks;

    /// <summary>Adds what the look-ups of one more layer may take.</summary>
    public void Allow(int paths, int entries) => _left += paths + NamesOfEntry * entries;

    /// <summary>Begins one look-up, in which a few symbolic links may be followed.</summary>
    public void Begin() => _followedLinks = 0;

    /// <summary>Counts names that are looked up. Throws <see cref="InvalidDataException"/> when there have been too many.</summary>
    public void CountNames(int layer, int count = 1)
    {
        _left -= count;
        if (_left < 0)
        {
            throw new InvalidDataException($"layer {layer} has hard links, or entries below symbolic links, whose paths have more than {MaxNames} names together");
        }
    }

    /// <summary>Counts a symbolic link that is followed. Throws <see cref="InvalidDataException"/> when there have been too many in this look-up.</summary>
    public void CountLink(int layer)
    {
        if (++_followedLinks > MaxFollowedLinks)
        {
            throw new InvalidDataException($"layer {layer} has an entry or a hard link below a symbolic link that leads to itself, or over more than {MaxFollowedLinks} others");
        }
    }
}
