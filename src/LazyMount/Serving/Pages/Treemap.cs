using System.Globalization;

namespace LazyMount.Serving.Pages;

/// <summary>A part of a treemap.</summary>
/// <param name="Label">What it says, and its title.</param>
/// <param name="Link">Where it leads.</param>
/// <param name="Size">Its area.</param>
/// <param name="Kind">Its colour.</param>
/// <param name="Text">The size in words.</param>
internal sealed record TreemapPart(string Label, string Link, long Size, string Kind, string Text);

/// <summary>Draws sizes as areas in SVG, in the squarified layout (Bruls, Huizing and van Wijk, 2000). Each part is a link.</summary>
internal static class Treemap
{
    private const double Width = 1000, Height = 560;
    private const int Letter = 8; // about the width of one

    /// <param name="html">Where to.</param>
    /// <param name="label">What it shows, for who cannot see it.</param>
    /// <param name="parts">In any order; those without a size are left out.</param>
    public static void Write(Html html, string label, IEnumerable<TreemapPart> parts)
    {
        TreemapPart[] sorted = [.. parts.Where(part => part.Size > 0).OrderByDescending(part => part.Size)];
        double total = sorted.Sum(part => (double)part.Size);
        var labels = new Html(); // beside the links, whose names say all of it
        html.Add($"<svg class=\"map\" viewBox=\"0 0 1000 560\" role=\"group\" aria-label=\"{label}\">");
        (double x, double y, double width, double height) = (0, 0, Width, Height);
        for (int first = 0; first < sorted.Length;)
        {
            double scale = Width * Height / total, side = Math.Min(width, height), row = 0, worst = double.MaxValue;
            int end = first;
            for (; end < sorted.Length; end++)
            {
                double with = row + (sorted[end].Size * scale);
                double next = Math.Max(side * side * sorted[first].Size * scale / (with * with), with * with / (side * side * sorted[end].Size * scale));
                if (next > worst)
                {
                    break;
                }
                (row, worst) = (with, next);
            }
            double thick = Math.Min(row / side, width >= height ? width : height), at = 0;
            for (int i = first; i < end; i++)
            {
                double along = sorted[i].Size * scale / thick;
                WritePart(html, labels, sorted[i], width >= height ? (x, y + at, thick, along) : (x + at, y, along, thick));
                at += along;
            }
            (x, y, width, height) = width >= height ? (x + thick, y, width - thick, height) : (x, y + thick, width, height - thick);
            first = end;
        }
        html.Add($"<g aria-hidden=\"true\">{new Markup(labels.ToString())}</g></svg>");
    }

    private static void WritePart(Html html, Html labels, TreemapPart part, (double X, double Y, double Width, double Height) box)
    {
        html.Add($"<a href=\"{part.Link}\" aria-label=\"{part.Label}, {part.Text}\"><title>{part.Label}, {part.Text}</title><rect class=\"{part.Kind}\" x=\"{Number(box.X)}\" y=\"{Number(box.Y)}\" width=\"{Number(box.Width)}\" height=\"{Number(box.Height)}\"/></a>");
        int letters = (int)((box.Width - 10) / Letter);
        if (letters >= 3 && box.Height >= 22)
        {
            string label = part.Label.Length <= letters ? part.Label : part.Label.StartsWith('/') ? "…" + part.Label[^(letters - 1)..] : part.Label[..(letters - 1)] + "…"; // the end of a path tells more
            // In a window of its own, so that no text leaves its part, however large letters are.
            labels.Add($"<svg x=\"{Number(box.X)}\" y=\"{Number(box.Y)}\" width=\"{Number(box.Width - 2)}\" height=\"{Number(box.Height)}\"><text x=\"6\" y=\"1.2em\">{label}</text>");
            if (box.Height >= 42 && part.Text.Length <= letters)
            {
                labels.Add($"<text class=\"size\" x=\"6\" y=\"2.75em\">{part.Text}</text>");
            }
            labels.Add($"</svg>");
        }
    }

    private static string Number(double value) => value.ToString("0.##", CultureInfo.InvariantCulture);
}
