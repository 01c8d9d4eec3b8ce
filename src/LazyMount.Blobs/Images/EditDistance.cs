namespace LazyMount.Blobs.Images;

/// <summary>How far apart two words are: how many letters must be inserted, left out, replaced or exchanged with their neighbour to make one of the other.</summary>
public static class EditDistance
{
    /// <summary>The distance (optimal string alignment), without regard to case.</summary>
    public static int Between(string a, string b)
    {
        // Rows of the table of distances between beginnings: of a shorter by two letters, by one, and this one.
        int[] older = new int[b.Length + 1], old = [.. Enumerable.Range(0, b.Length + 1)], row = new int[b.Length + 1];
        for (int i = 1; i <= a.Length; i++)
        {
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
            {
                row[j] = Math.Min(Math.Min(old[j], row[j - 1]) + 1, old[j - 1] + (IsSame(a[i - 1], b[j - 1]) ? 0 : 1));
                if (i > 1 && j > 1 && IsSame(a[i - 1], b[j - 2]) && IsSame(a[i - 2], b[j - 1]))
                {
                    row[j] = Math.Min(row[j], older[j - 2] + 1);
                }
            }
            (older, old, row) = (old, row, older);
        }
        return old[b.Length];
    }

    private static bool IsSame(char a, char b) => char.ToLowerInvariant(a) == char.ToLowerInvariant(b);
}
