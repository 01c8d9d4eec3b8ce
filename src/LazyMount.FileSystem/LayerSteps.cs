using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem;

/// <summary>How a layer takes away what lower layers have.</summary>
public enum Covering
{
    /// <summary>A whiteout of the name.</summary>
    Whiteout,

    /// <summary>An opaque marker in the directory: it takes away what the directory held.</summary>
    Opaque,

    /// <summary>Something else of the same name.</summary>
    Replaced,
}

/// <summary>
/// The merge of an image's layers, one layer a step, with what stood at each slot before the last step. Whoever asks what a layer did
/// compares the two, so that there is one set of rules: those of <see cref="MergedTree"/>.
/// </summary>
/// <param name="layers">Lowest first.</param>
/// <param name="cancellationToken">Ends it between two layers.</param>
internal sealed class LayerSteps(IReadOnlyList<LayerIndex> layers, CancellationToken cancellationToken)
{
    private int[] _before = [];

    public MergedTree Tree { get; } = new(layers);

    /// <summary>The layer that was applied last; -1 before the first.</summary>
    public short Layer { get; private set; } = -1;

    /// <summary>Slots that there were before the last step.</summary>
    public int BeforeCount { get; private set; }

    /// <summary>The object of a slot before the last step, or <see cref="TreeSlots.None"/>.</summary>
    public int Before(int slot) => slot < BeforeCount ? _before[slot] : TreeSlots.None;

    /// <summary>Applies the next layer. Returns false when there is none.</summary>
    /// <exception cref="InvalidDataException">The layers make no tree.</exception>
    public bool Next()
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (Layer + 1 == layers.Count)
        {
            return false;
        }
        BeforeCount = Tree.Slots.Count;
        if (_before.Length < BeforeCount)
        {
            _before = new int[Math.Max(BeforeCount, _before.Length * 2)];
        }
        Tree.Slots.CopyObjects(_before);
        Layer++;
        Tree.Stack(new LayerTree(Tree, Layer).Apply());
        return true;
    }

    /// <summary>
    /// The names below a directory at which the last step changed what stands there: the objects before and now, <see cref="TreeSlots.None"/>
    /// for nothing. Names are compared by their path from the directory.
    /// </summary>
    /// <param name="before">The slot of the directory before the step; <see cref="TreeSlots.None"/> when there was no directory.</param>
    /// <param name="now">The slot of the directory now, or <see cref="TreeSlots.None"/>. It is often the same, but the way to it may have changed.</param>
    public IEnumerable<(int Was, int Is)> ChangesBelow(int before, int now)
    {
        const int NotBelow = -2;
        TreeSlots slots = Tree.Slots;
        var isMet = new bool[now >= 0 ? slots.Count : 0];
        if (before >= 0)
        {
            // By slot before the step: the slot of the same path now. A slot comes after its directory, and keeps its name when it is dropped.
            int[] places = new int[BeforeCount];
            Array.Fill(places, NotBelow);
            places[before] = now;
            for (int slot = before + 1; slot < BeforeCount; slot++)
            {
                int parent = slots.ParentOf(slot);
                if (places[parent] == NotBelow || Before(slot) < 0)
                {
                    continue;
                }
                int directory = places[parent];
                bool stayed = directory == parent && slots.ObjectOf(slot) >= 0;
                int place = stayed ? slot : directory >= 0 && slots.IsDirectory(directory) ? slots.Find(directory, slots.NameOf(slot)) : TreeSlots.None;
                places[slot] = place;
                if (place >= 0)
                {
                    isMet[place] = true;
                }
                int current = place >= 0 ? slots.ObjectOf(place) : TreeSlots.None;
                if (Before(slot) != current)
                {
                    yield return (Before(slot), current);
                }
            }
        }
        if (now >= 0)
        {
            var isBelow = new bool[slots.Count];
            isBelow[now] = true;
            for (int slot = now + 1; slot < isBelow.Length; slot++)
            {
                isBelow[slot] = isBelow[slots.ParentOf(slot)] && slots.ObjectOf(slot) >= 0;
                if (isBelow[slot] && !isMet[slot])
                {
                    yield return (TreeSlots.None, slots.ObjectOf(slot));
                }
            }
        }
    }
}
