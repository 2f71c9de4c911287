# Answers on the given ports (http:8080, dns:53), in one process: HTTP with 200, a DNS query with one A record.
use strict;
use warnings;
use Errno qw(EAGAIN EWOULDBLOCK EINTR);
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);
use IO::Select;
use Socket;

use constant BACKLOG => 1024;
use constant CLIENTS => 512;
use constant REQUEST => 65536;

my $answer = inet_aton('192.0.2.1');
my $page = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
my $select = IO::Select->new;
my %role;      # descriptor -> [kind of socket, protocol spoken, bytes received]

$SIG{TERM} = $SIG{INT} = sub { exit 0 };
$SIG{PIPE} = 'IGNORE';

sub unblock { my ($socket) = @_; fcntl $socket, F_SETFL, fcntl($socket, F_GETFL, 0) | O_NONBLOCK }

sub listen_on {
    my ($type, $port, $spoken) = @_;
    socket my $socket, PF_INET, $type, 0 or die "socket: $!\n";
    setsockopt $socket, SOL_SOCKET, SO_REUSEADDR, pack 'l', 1;
    bind $socket, sockaddr_in($port, INADDR_ANY) or die "port $port: $!\n";
    if ($type == SOCK_STREAM) { listen $socket, BACKLOG or die "port $port: $!\n" }
    unblock($socket);
    $role{fileno $socket} = [$type == SOCK_STREAM ? 'server' : 'datagrams', $spoken, ''];
    $select->add($socket);
}

# The query's own id and question, one answer that points to the question's name; undef for what is no query.
sub resolve {
    my ($query) = @_;
    return if length $query < 17 || (unpack 'n', substr $query, 2, 2) & 0x8000;
    my $end = index $query, "\0", 12;
    return if $end < 0 || length $query < $end + 5;
    my $header = pack 'n6', unpack('n', $query), 0x8580, 1, 1, 0, 0;
    return $header . substr($query, 12, $end - 7) . pack 'n3 N n a4', 0xC00C, 1, 1, 5, 4, $answer;
}

# What to say to what a client has sent so far; undef while that is incomplete.
sub reply {
    my ($spoken, $received) = @_;
    return $received =~ /\r?\n\r?\n/ ? $page : undef if $spoken eq 'http';
    return if length $received < 2 || length $received < 2 + unpack 'n', $received;
    my $said = resolve(substr $received, 2);
    return defined $said ? pack('n', length $said) . $said : '';
}

sub hang_up {
    my ($socket) = @_;
    $select->remove($socket);
    delete $role{fileno $socket};
    close $socket;
}

for (@ARGV) {
    my ($spoken, $port) = /^(http|dns):(\d+)$/ or die "what is $_? wanted http:PORT or dns:PORT\n";
    listen_on(SOCK_STREAM, $port, $spoken);
    listen_on(SOCK_DGRAM, $port, $spoken) if $spoken eq 'dns';
}

while (1) {
    for my $socket ($select->can_read) {
        my ($kind, $spoken) = @{ $role{fileno $socket} // next };
        if ($kind eq 'server') {
            next if !accept(my $client, $socket);
            if (keys %role > CLIENTS) { close $client; next }
            unblock($client);
            $role{fileno $client} = ['client', $spoken, ''];
            $select->add($client);
        }
        elsif ($kind eq 'datagrams') {
            my $from = recv($socket, my $query, REQUEST, 0);
            next if !defined $from;
            my $said = resolve($query);
            send $socket, $said, 0, $from if defined $said;
        }
        else {
            my $count = sysread $socket, my $chunk, 4096;
            next if !defined $count && ($! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR);
            if (!$count) { hang_up($socket); next }
            my $state = $role{fileno $socket};
            $state->[2] .= $chunk;
            my $said = reply($spoken, $state->[2]);
            if (defined $said) { syswrite $socket, $said; hang_up($socket) }
            elsif (length $state->[2] > REQUEST) { hang_up($socket) }
        }
    }
}
