namespace LazyMount.Blobs.Oci;

/// <summary>A platform as it stands in a document.</summary>
internal sealed class PlatformJson
{
    public static GoStruct<PlatformJson> Form { get; } = new(
        ("os", (ref json, to) => to.Os = json.ReadString()),
        ("architecture", (ref json, to) => to.Architecture = json.ReadString()),
        ("variant", (ref json, to) => to.Variant = json.ReadString()),
        ("os.version", (ref json, to) => to.OsVersion = json.ReadString()));

    public string Os { get; set; } = "";

    public string Architecture { get; set; } = "";

    public string Variant { get; set; } = "";

    public string OsVersion { get; set; } = "";

    /// <summary>
    /// The platform; null when it names only one of OS and architecture, or neither: then the image's config has to tell. One
    /// half is enough to say that the manifest runs nowhere.
    /// </summary>
    public Platform? ToPlatform()
    {
        var platform = new Platform(Os, Architecture) { Variant = Variant.Length == 0 ? null : Variant, OsVersion = OsVersion.Length == 0 ? null : OsVersion };
        return (Os.Length > 0 && Architecture.Length > 0) || platform.IsUnknown ? platform : null;
    }
}
