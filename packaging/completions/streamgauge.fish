# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_streamgauge_global_optspecs
    string join \n h/help V/version
end

function __fish_streamgauge_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_streamgauge_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_streamgauge_using_subcommand
    set -l cmd (__fish_streamgauge_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c streamgauge -n "__fish_streamgauge_needs_command" -s h -l help -d 'Print help'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -s V -l version -d 'Print version'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "run" -d 'Watch databases and their replicas, and serve metrics until stopped'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "check" -d 'Look once, and tell what could be restored of each database'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "restore" -d 'Restore a database from its replica, without Litestream'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "restorable" -d 'Show which points in time a replica can be restored to, and what blocks the others'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "cost" -d 'Estimate what replication costs a month, now and with other settings'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "drill" -d 'Prove that backups restore: restore them to scratch space, check the result, and remove it'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "drill-worker" -d 'Run one drill: started by `drill` and `run`, in a process of its own'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "healthcheck" -d 'Ask a running agent whether it is healthy'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "notify" -d 'Try out the receivers of alerts'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "config" -d 'Examine the configuration'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "metrics" -d 'List every metric with its labels and meaning'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "why" -d 'Explain a check: what it means, what it says right now, and what to do about it'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "rules" -d 'Print the checks as rules for Prometheus, or an example for Alertmanager'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "dashboards" -d 'Print a dashboard for Grafana'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "demo" -d 'Watch a demo database with a built-in replicator, and optionally see replication break'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "demo-peer" -d 'Write and replicate the demo\'s database: started by `demo`, in a process of its own'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "completions" -d 'Print a completion script for a shell'
complete -c streamgauge -n "__fish_streamgauge_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand run" -l config.file -d 'streamgauge\'s own configuration file' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand run" -l litestream.config -d 'Litestream\'s configuration file, v0.3 or v0.5 [repeatable]' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand run" -l web.listen-address -d 'Address to listen on: host:port, [ipv6]:port, :port for all interfaces, or unix:/path [repeatable] [default: 127.0.0.1:10099]' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand run" -l web.config.file -d 'File that says who may connect: TLS, users and more, in the format of the Prometheus exporter toolkit' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand run" -l shard -d 'Watch only this part of what is configured, as one of several agents counted from 0: 0/3, or hostname/3 for the number at the end of the host\'s name' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand run" -l storage.path -d 'Directory for what has to survive a restart; \'\' keeps nothing' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand run" -l log.level -d 'Least severe messages to log [default: info]' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c streamgauge -n "__fish_streamgauge_using_subcommand run" -l log.format -d 'Format of the log messages on standard error [default: logfmt]' -r -f -a "logfmt\t''
json\t''"
complete -c streamgauge -n "__fish_streamgauge_using_subcommand run" -l web.systemd-socket -d 'Listen on the sockets that systemd passes instead of --web.listen-address'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand run" -s h -l help -d 'Print help'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand check" -l config.file -d 'streamgauge\'s own configuration file' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand check" -l litestream.config -d 'Litestream\'s configuration file, v0.3 or v0.5 [repeatable]' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand check" -l format -r -f -a "table\t''
json\t''
prometheus\t'The text format of Prometheus, as the agent exports it'
nagios\t'One line with performance data'"
complete -c streamgauge -n "__fish_streamgauge_using_subcommand check" -s o -l output -d 'Write to this file, replacing it atomically [default: standard output]' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand check" -l verify -d 'What to read of the objects that a restore needs: nothing, their structure (within a few hundred requests per replica), or all of their content' -r -f -a "none\t''
structure\t''
content\t''"
complete -c streamgauge -n "__fish_streamgauge_using_subcommand check" -l wait -d 'How long to wait for the commits seen at the start to reach the replica' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand check" -s v -l verbose -d 'Show every database in full, however many there are'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restore" -s o -l output -d 'Where to restore to; an existing file is never overwritten. Standard output: -' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restore" -l at -d 'Restore what was written before this time [default: everything]' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restore" -l txid -d 'Restore the state at a TXID of Litestream v0.5, given as 16 hexadecimal digits' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restore" -l without -d 'Plan without this object, as if it were damaged [repeatable]' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restore" -l replica -d 'The replica to restore from, if a database has several' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restore" -l age-identity -d 'File of age identities, for a replica that Litestream v0.3 encrypts [default: as configured]' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restore" -l threads -d 'Number of decoding threads, for v0.5 to a file [default: one per core]' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restore" -l format -r -f -a "text\t''
json\t'One JSON object, at the end; with -o -, on standard error'"
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restore" -l config.file -d 'streamgauge\'s own configuration file' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restore" -l litestream.config -d 'Litestream\'s configuration file, v0.3 or v0.5 [repeatable]' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restore" -s q -l quiet -d 'Print nothing but errors, warnings and the result'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restorable" -l at -d 'A point in time: 2026-11-22T08:30:00Z, \'2026-11-22 08:30\' in local time, or 2h for two hours ago' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restorable" -l replica -d 'Only the replica of this name, if a database has several' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restorable" -l without -d 'Plan without this object, as if it were damaged [repeatable]' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restorable" -l format -r -f -a "table\t''
json\t''"
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restorable" -l config.file -d 'streamgauge\'s own configuration file' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restorable" -l litestream.config -d 'Litestream\'s configuration file, v0.3 or v0.5 [repeatable]' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand restorable" -s h -l help -d 'Print help'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand cost" -l replica -d 'Only the replica of this name, if a database has several' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand cost" -l what-if -d 'Also show what it would cost with this setting [repeatable]' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand cost" -l format -r -f -a "table\t''
json\t''"
complete -c streamgauge -n "__fish_streamgauge_using_subcommand cost" -l config.file -d 'streamgauge\'s own configuration file' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand cost" -l litestream.config -d 'Litestream\'s configuration file, v0.3 or v0.5 [repeatable]' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand cost" -s h -l help -d 'Print help'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand drill" -l replica -d 'Only the replicas of this name' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand drill" -l integrity -d 'How thoroughly SQLite checks the restored database [default: as configured, otherwise quick]' -r -f -a "none\t'Only whether it opens'
quick\t'PRAGMA quick_check'
full\t'PRAGMA integrity_check, which takes about ten times as long'"
complete -c streamgauge -n "__fish_streamgauge_using_subcommand drill" -l max-size -d 'Do not drill replicas that would download more than this, such as 10GiB [default: no limit]' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand drill" -l timeout -d 'Stop a drill that takes longer [default: as configured, otherwise 6h]' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand drill" -l scratch -d 'Where to restore databases for the duration of the drill: a directory that does not exist yet, or one that only you can enter [default: as configured, otherwise drill below storage.path, otherwise in your cache directory]' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand drill" -l report -d 'Write a report for an auditor, FILE.html or FILE.json [repeatable]' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand drill" -l format -r -f -a "table\t''
json\t''"
complete -c streamgauge -n "__fish_streamgauge_using_subcommand drill" -l config.file -d 'streamgauge\'s own configuration file' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand drill" -l litestream.config -d 'Litestream\'s configuration file, v0.3 or v0.5 [repeatable]' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand drill" -l full -d 'Restore everything, even if a copy was kept from the previous drill'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand drill" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand drill-worker" -s h -l help -d 'Print help'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand healthcheck" -l url -d 'The agent to ask: http://host:port, https://user:password@host:port or unix:/path [default: as configured, otherwise http://127.0.0.1:10099]' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand healthcheck" -l config.file -d 'streamgauge\'s own configuration file' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand healthcheck" -l litestream.config -d 'Litestream\'s configuration file, v0.3 or v0.5 [repeatable]' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand healthcheck" -l ready -d 'Ask whether it is ready'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand healthcheck" -s h -l help -d 'Print help'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand notify; and not __fish_seen_subcommand_from test help" -s h -l help -d 'Print help'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand notify; and not __fish_seen_subcommand_from test help" -f -a "test" -d 'Send a test alert and its end through each receiver, and report the results'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand notify; and not __fish_seen_subcommand_from test help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand notify; and __fish_seen_subcommand_from test" -l config.file -d 'streamgauge\'s own configuration file' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand notify; and __fish_seen_subcommand_from test" -l litestream.config -d 'Litestream\'s configuration file, v0.3 or v0.5 [repeatable]' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand notify; and __fish_seen_subcommand_from test" -l severity -d 'Severity of the test alert' -r -f -a "info\t''
warning\t''
critical\t''"
complete -c streamgauge -n "__fish_streamgauge_using_subcommand notify; and __fish_seen_subcommand_from test" -s h -l help -d 'Print help'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand notify; and __fish_seen_subcommand_from help" -f -a "test" -d 'Send a test alert and its end through each receiver, and report the results'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand notify; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand config; and not __fish_seen_subcommand_from check help" -s h -l help -d 'Print help'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand config; and not __fish_seen_subcommand_from check help" -f -a "check" -d 'Read the configuration, report every problem in it, and list what would be watched'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand config; and not __fish_seen_subcommand_from check help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand config; and __fish_seen_subcommand_from check" -l config.file -d 'streamgauge\'s own configuration file' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand config; and __fish_seen_subcommand_from check" -l litestream.config -d 'Litestream\'s configuration file, v0.3 or v0.5 [repeatable]' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand config; and __fish_seen_subcommand_from check" -l web.config.file -d 'The file that `run` gets as --web.config.file' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "check" -d 'Read the configuration, report every problem in it, and list what would be watched'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand metrics" -l format -r -f -a "table\t''
markdown\t''
json\t''"
complete -c streamgauge -n "__fish_streamgauge_using_subcommand metrics" -s h -l help -d 'Print help'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand why" -l url -d 'The agent to ask: http://host:port, https://user:password@host:port or unix:/path [default: web.listen-address as configured, otherwise http://127.0.0.1:10099]' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand why" -l config.file -d 'streamgauge\'s own configuration file' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand why" -l litestream.config -d 'Litestream\'s configuration file, v0.3 or v0.5 [repeatable]' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand why" -s h -l help -d 'Print help'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand rules" -l format -d 'Rules for Prometheus, or an example configuration for Alertmanager' -r -f -a "prometheus\t''
alertmanager\t''"
complete -c streamgauge -n "__fish_streamgauge_using_subcommand rules" -l profile -d 'The `profile` in the agents\' configuration, or minimal: nine pages and the watchdog, for every profile' -r -f -a "core\t''
standard\t''
full\t''
minimal\t''"
complete -c streamgauge -n "__fish_streamgauge_using_subcommand rules" -l runbook-url -d 'URL of the runbook; `#` and the name of the check in lower case are appended' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand rules" -l dashboard-url -d 'URL of the dashboard; may be a Prometheus template [default: the agent\'s own page]' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand rules" -s h -l help -d 'Print help'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand dashboards" -l profile -d 'The `profile` in the agents\' configuration' -r -f -a "core\t''
standard\t''
full\t''"
complete -c streamgauge -n "__fish_streamgauge_using_subcommand dashboards" -l import -d 'Print it for the import dialog and grafana.com, which ask for the data source, instead of for provisioning'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand dashboards" -s h -l help -d 'Print help'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand demo" -l fault -d 'What to break' -r -f -a "stall\t'the replicator freezes, the writer goes on → lag grows from the first unproven commit, unreplicated bytes with it'
upload\t'uploads stop, the replicator\'s local files go on → as with stall; the local TXID runs ahead of the replica\'s'
gap\t'a level-0 file vanishes before a higher level holds it → one gap that no level bridges, and a recovery point that stays before it'
corrupt\t'a byte in the header of each new file is flipped → the newest file cannot be read, so nothing newer is proven and lag grows'
truncate\t'only the first 64 bytes of each new file arrive → files shorter than any LTX file, so nothing newer is proven and lag grows'
delete-snapshot\t'the snapshots and everything else that a restore can start from are deleted → nothing can be restored, although the newest commits are in the replica'
empty\t'the replica is emptied, and new files keep arriving → nothing can be restored, although the newest commits are in the replica'
unreadable\t'the replica\'s directory is renamed, and a file takes its name → the replica is down and proof age grows; lag stays at its last known value'
idle\t'the writer stops, replication works → nothing: an idle database has no lag'"
complete -c streamgauge -n "__fish_streamgauge_using_subcommand demo" -l fault-after -d 'How long after the start to break it' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand demo" -l fault-for -d 'End the fault after this long [default: never]' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand demo" -l web.listen-address -d 'Address to listen on [repeatable] [default: 127.0.0.1:10099]' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand demo-peer" -l directory -d 'An existing, empty directory' -r -F
complete -c streamgauge -n "__fish_streamgauge_using_subcommand demo-peer" -l fault -d 'How to break replication' -r -f -a "stall\t'the replicator freezes, the writer goes on → lag grows from the first unproven commit, unreplicated bytes with it'
upload\t'uploads stop, the replicator\'s local files go on → as with stall; the local TXID runs ahead of the replica\'s'
gap\t'a level-0 file vanishes before a higher level holds it → one gap that no level bridges, and a recovery point that stays before it'
corrupt\t'a byte in the header of each new file is flipped → the newest file cannot be read, so nothing newer is proven and lag grows'
truncate\t'only the first 64 bytes of each new file arrive → files shorter than any LTX file, so nothing newer is proven and lag grows'
delete-snapshot\t'the snapshots and everything else that a restore can start from are deleted → nothing can be restored, although the newest commits are in the replica'
empty\t'the replica is emptied, and new files keep arriving → nothing can be restored, although the newest commits are in the replica'
unreadable\t'the replica\'s directory is renamed, and a file takes its name → the replica is down and proof age grows; lag stays at its last known value'
idle\t'the writer stops, replication works → nothing: an idle database has no lag'"
complete -c streamgauge -n "__fish_streamgauge_using_subcommand demo-peer" -l fault-after-ms -d 'Milliseconds of health before the fault' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand demo-peer" -l fault-for-ms -d 'Milliseconds after which the fault ends' -r
complete -c streamgauge -n "__fish_streamgauge_using_subcommand demo-peer" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand completions" -s h -l help -d 'Print help'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "run" -d 'Watch databases and their replicas, and serve metrics until stopped'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "check" -d 'Look once, and tell what could be restored of each database'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "restore" -d 'Restore a database from its replica, without Litestream'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "restorable" -d 'Show which points in time a replica can be restored to, and what blocks the others'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "cost" -d 'Estimate what replication costs a month, now and with other settings'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "drill" -d 'Prove that backups restore: restore them to scratch space, check the result, and remove it'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "drill-worker" -d 'Run one drill: started by `drill` and `run`, in a process of its own'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "healthcheck" -d 'Ask a running agent whether it is healthy'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "notify" -d 'Try out the receivers of alerts'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "config" -d 'Examine the configuration'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "metrics" -d 'List every metric with its labels and meaning'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "why" -d 'Explain a check: what it means, what it says right now, and what to do about it'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "rules" -d 'Print the checks as rules for Prometheus, or an example for Alertmanager'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "dashboards" -d 'Print a dashboard for Grafana'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "demo" -d 'Watch a demo database with a built-in replicator, and optionally see replication break'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "demo-peer" -d 'Write and replicate the demo\'s database: started by `demo`, in a process of its own'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "completions" -d 'Print a completion script for a shell'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and not __fish_seen_subcommand_from run check restore restorable cost drill drill-worker healthcheck notify config metrics why rules dashboards demo demo-peer completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and __fish_seen_subcommand_from notify" -f -a "test" -d 'Send a test alert and its end through each receiver, and report the results'
complete -c streamgauge -n "__fish_streamgauge_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "check" -d 'Read the configuration, report every problem in it, and list what would be watched'
