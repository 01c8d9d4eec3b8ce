namespace LazyMount.Fuse;

/// <summary>
/// The places of this mount namespace where one file system of ours is mounted: where it was mounted first, bind mounts of it, and
/// wherever these were moved to. The device number finds them all, paths do not.
/// </summary>
internal static class MountPlaces
{
    /// <summary>The places of a file system, in the order in which they were made.</summary>
    /// <param name="device">Its device number, major:minor.</param>
    public static List<MountInfo> Of(string device) => MountInfo.ReadAll().FindAll(mount => mount.Device == device && mount.Face is not null);

    /// <summary>
    /// Unmounts a file system from all its places; with <paramref name="lazy"/> although they are in use. Returns the places that are
    /// left because other mounts, which are not ours to take away, cover them.
    /// <para>The kernel gives the number of a file system that is gone to the next one, so only the places that are there at the
    /// beginning are touched.</para>
    /// </summary>
    /// <param name="device">Its device number, major:minor.</param>
    /// <param name="lazy">Detach a place at once if it is in use.</param>
    /// <param name="only">Touch only such places: for a caller whose connection has ended, and with it the claim on the number.</param>
    /// <param name="failure">Why a place could not be unmounted, or null. Without <paramref name="lazy"/> the others are then left alone.</param>
    public static List<MountInfo> Unmount(string device, bool lazy, out FuseException? failure, Predicate<MountInfo>? only = null)
    {
        failure = null;
        List<MountInfo> places = Of(device).FindAll(place => only is null || only(place));
        HashSet<(int, string)> first = [.. places.Select(place => (place.Id, place.Path))];
        bool progress;
        do
        {
            progress = false;
            // What was mounted last may cover what was mounted before.
            foreach (MountInfo place in Enumerable.Reverse(places).Where(place => place.IsReachable()))
            {
                if (MountPoint.TryUnmount(place, lazy, out FuseException? reason))
                {
                    progress = true;
                }
                else
                {
                    failure = reason;
                    if (!lazy)
                    {
                        return places;
                    }
                }
            }
            places = Of(device).FindAll(place => first.Contains((place.Id, place.Path)));
        }
        while (progress && places.Count > 0);
        return places;
    }
}
