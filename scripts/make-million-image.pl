#!/usr/bin/perl
# Makes an image of 1,000,000 small files in 10,000 directories as an OCI layout: one gzip layer, the same bytes every time.
# The tar is made in memory, directory by directory: files on a disk would take minutes.
#
#   scripts/make-million-image.pl DIR     the image is oci:DIR:million; the directory /d050 has 100 of its 10,000 directories
use strict;
use warnings;
use Digest::SHA;

my $layout = shift or die "usage: $0 DIR\n";
exit 0 if -e "$layout/index.json";
my $blobs = "$layout.new/blobs/sha256";
system('rm', '-rf', "$layout.new") == 0 && system('mkdir', '-p', $blobs) == 0 or die "cannot make $blobs\n";

sub header { # NAME MODE SIZE TYPE: 512 bytes of a ustar header
    my ($name, $mode, $size, $type) = @_;
    my $header = pack 'a100a8a8a8a12a12A8a1a100a6a2a32a32a8a8a155x12', $name, sprintf('%07o', $mode), ('0000000') x 2,
        sprintf('%011o', $size), '14524760400', '', $type, '', 'ustar', '00', '', '', '', '', '';
    substr($header, 148, 8) = sprintf "%06o\0 ", unpack('%32C*', $header);
    return $header;
}

# A file's header is that of another file of its directory, with another name, size and checksum: packing each takes too long.
my $layer = Digest::SHA->new(256);
open my $gzip, '|-', "gzip -1 -n >'$blobs/layer'" or die "cannot run gzip: $!\n";
sub put { $layer->add($_[0]); print $gzip $_[0] or die "cannot write: $!\n" }
for my $top (0 .. 99) {
    my $tar = header(sprintf('d%03d/', $top), 0755, 0, 5);
    for my $sub (0 .. 99) {
        my $directory = sprintf 'd%03d/e%03d/', $top, $sub;
        $tar .= header($directory, 0755, 0, 5);
        my $prefix = length $directory;
        my $template = header("${directory}f000.txt", 0644, 0, 0);
        my $sum = unpack '%32C*', substr($template, 0, 148) . ' ' x 8 . substr($template, 156);
        for my $file (0 .. 99) {
            my $number = sprintf '%03d', $file;
            my $content = "$directory$number" x ($file % 8);
            my $size = sprintf '%011o', length $content;
            my $entry = $template;
            substr($entry, $prefix + 1, 3) = $number;
            substr($entry, 124, 11) = $size;
            substr($entry, 148, 6) = sprintf '%06o', $sum + unpack('%32C*', $number) + unpack('%32C*', $size) - 14 * 48;
            $tar .= $entry . $content . "\0" x (-length($content) % 512);
        }
    }
    put($tar);
}
put("\0" x 1024);
close $gzip or die "gzip failed\n";

sub blob { # FILE TYPE: gives the file its name, returns its descriptor
    my ($file, $type) = @_;
    my $digest = Digest::SHA->new(256)->addfile("$blobs/$file", 'b')->hexdigest;
    my $size = -s "$blobs/$file";
    rename "$blobs/$file", "$blobs/$digest" or die "cannot rename $blobs/$file: $!\n";
    return qq({"mediaType":"application/vnd.oci.image.$type","digest":"sha256:$digest","size":$size});
}
sub text { # FILE TEXT
    open my $out, '>', $_[0] or die "cannot write $_[0]: $!\n";
    print $out $_[1];
    close $out or die "cannot write $_[0]: $!\n";
}
chomp(my $machine = `uname -m`);
my $architecture = $machine eq 'aarch64' ? 'arm64' : 'amd64';
my $diff = $layer->hexdigest;
text("$blobs/config", qq({"architecture":"$architecture","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:$diff"]}}));
my $config = blob('config', 'config.v1+json');
my $descriptor = blob('layer', 'layer.v1.tar+gzip');
text("$blobs/manifest", qq({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":$config,"layers":[$descriptor]}));
my $manifest = blob('manifest', 'manifest.v1+json');
$manifest =~ s/}$/,"annotations":{"org.opencontainers.image.ref.name":"million"}}/;
text("$layout.new/index.json", qq({"schemaVersion":2,"manifests":[$manifest]}));
text("$layout.new/oci-layout", qq({"imageLayoutVersion":"1.0.0"}));
rename "$layout.new", $layout or die "cannot rename $layout.new: $!\n";
