# Takes connections on a port, and closes them: a source's node asks for no more, to see that packets go to and fro.
use strict;
use warnings;
use Socket;

$SIG{TERM} = $SIG{INT} = sub { exit 0 };

socket my $server, PF_INET, SOCK_STREAM, 0 or die "socket: $!\n";
setsockopt $server, SOL_SOCKET, SO_REUSEADDR, pack 'l', 1;
bind $server, sockaddr_in($ARGV[0], INADDR_ANY) or die "port $ARGV[0]: $!\n";
listen $server, 16 or die "port $ARGV[0]: $!\n";
while (1) {
    my $taken = accept(my $client, $server);
    $taken ? close $client : sleep 1;
}
