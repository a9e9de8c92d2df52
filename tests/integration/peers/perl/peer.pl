#!/usr/bin/perl
# Crypt::SMIME as a peer: peer.pl encrypt|decrypt|sign|verify KEY CERTIFICATE AUTHORITY < message > message
use strict;
use warnings;
use Crypt::SMIME;

sub slurp { local $/; open my $file, '<:raw', $_[0] or die "$_[0]: $!\n"; return scalar <$file>; }

my ($operation, $key, $certificate, $authority) = @ARGV;
binmode STDIN;
binmode STDOUT;
my $message = do { local $/; <STDIN> };
my $smime = Crypt::SMIME->new;
if ($operation eq 'encrypt') {
    $smime->setPublicKey([slurp($certificate)]);
    print $smime->encrypt($message);
} elsif ($operation eq 'decrypt') {
    $smime->setPrivateKey(slurp($key), slurp($certificate));
    print $smime->decrypt($message);
} elsif ($operation eq 'sign') {
    $smime->setPrivateKey(slurp($key), slurp($certificate));
    print $smime->sign($message);
} else {
    $smime->setPublicKeyStore($authority);
    print $smime->check($message);
}
