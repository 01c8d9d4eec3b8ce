#!/usr/bin/perl
# Runs the session of README.md, each line that begins with "$ " by a shell in the current directory, which needs the image
# `sample` of scripts/make-sample-image.sh and an empty `mnt`, and compares what is said with what README.md says. What differs
# from run to run is left out: digests, times, numbers of processes and inodes, the user's directory, Debian's version, which face.
#
#   scripts/run-session.pl README.md
use strict;
use warnings;

my ($file) = @ARGV or die "usage: $0 README.md\n";
open(my $readme, '<', $file) or die "$file: $!\n";
my @steps;
my $state = 'before';
while (my $line = <$readme>) {
    if ($state eq 'before') { $state = 'heading' if $line =~ /^## A session$/ }
    elsif ($line =~ /^```/) { last if $state eq 'inside'; $state = 'inside' }
    elsif ($state eq 'inside' && $line =~ /^\$ (.*)$/) { push @steps, { command => $1, expected => '' } }
    elsif ($state eq 'inside') { $steps[-1]{expected} .= $line }
}
die "$file has no session\n" unless @steps;

sub plain {
    local $_ = shift;
    s/sha256:[0-9a-f]{64}/DIGEST/g;
    s/\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?Z?/TIME/g;
    s/^(alive\s+)\d+/$1PID/mg;
    s/^(\s*Inode: )\d+/$1NUMBER/mg;
    s/^(alive .*) (fuse|erofs) /$1 FACE /mg;
    s{\S+/mnt\b}{HOME/mnt}g;
    s{\boci:\S*\bsample:sample$}{oci:HOME/sample:sample}mg;
    s{GNU/Linux \d+ \(\w+\)}{GNU/Linux VERSION}g;
    s/[ \t]+/ /g;
    return $_;
}

my $failed = 0;
for my $step (@steps) {
    my $said = qx{exec 2>&1; $step->{command}};
    next if plain($said) eq plain($step->{expected});
    $failed = 1;
    print "\$ $step->{command}\nREADME.md says:\n$step->{expected}but it said:\n$said";
}
exit 1 if $failed;
print scalar(@steps), " commands said what README.md says\n";
