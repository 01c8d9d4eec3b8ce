namespace LazyMount.Fuse;

/// <summary>
/// The places of this mount namespace where one file system of ours is mounted: where it was mounted first, bind mounts of it, and
/// wherever these were moved to. The device number finds them all, paths do not.
/// </summary>
internal static class MountPlaces
{
    /// <summary>The places of a file system, in the order in which they were made.</summary>
    /// <param name="device">Its device number, major:minor.</param>
    public static List<MountInfo> Of(string device) => MountInfo.ReadAll().FindAll(mount => mount.Device == device && mount.Type == MountPoint.Type);

    /// <summary>
    /// Unmounts a file system from all its places; with <paramref name="lazy"/> although they are in use. Returns the places that are
    /// left because other mounts, which are not ours to take away, cover them.
    /// </summary>
    /// <param name="device">Its device number, major:minor.</param>
    /// <param name="lazy">Detach a place at once if it is in use.</param>
    /// <param name="failure">Why a place could not be unmounted, or null. Without <paramref name="lazy"/> the others are then left alone.</param>
    public static List<MountInfo> Unmount(string device, bool lazy, out FuseException? failure)
    {
        failure = null;
        List<MountInfo> places;
        bool progress;
        do
        {
            progress = false;
            places = Of(device);
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
        }
        while (progress);
        return places;
    }
}
