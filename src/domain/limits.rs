//! Every bound of the agent stands here, so that "how much can it use" has one answer.

use std::time::Duration;

/// Databases that one agent watches; more are reported as `over_limit`, never silently dropped.
pub const DATABASES_MAX: usize = 50_000;

/// Looks at buckets, and listings there, are at most so far apart to keep requests within their budget.
pub const SPACED_INTERVAL_MAX: Duration = Duration::from_secs(15 * 60);

/// The lowest `series-limit`: what the agent says of itself and of buckets is always served.
pub const SERIES_LIMIT_MIN: usize = 1000;

/// Damaged states that are kept beside the one in use.
pub const STATES_SET_ASIDE_MAX: usize = 100;

/// Bytes of the WAL of a state that are read to see whose it is.
pub const STATE_WAL_BYTES_MAX: u64 = 64 << 20;

/// Databases that may leave a source at once although their files are there; more are no ordinary change.
pub const DATABASES_LOST_MAX: usize = 3;

/// Names that are remembered, of databases that are there and of those that are gone.
pub const NAMES_MAX: usize = 2 * DATABASES_MAX;

/// Characters of a name that is a label of every series.
pub const LABEL_CHARS_MAX: usize = 128;

/// Rounds of looks at databases that may wait for the agent; their thread pauses when it is behind.
pub const WAITING_ROUNDS_MAX: usize = 64;

/// How long the name of a database that is gone is given to nothing else, beyond the grace in which it is still shown:
/// a quarter, after which nobody looks for its series any more.
pub const NAME_KEPT: Duration = Duration::from_secs(90 * 86_400);

/// Databases that the directory entries of one `litestream.yml` may match.
pub const DIRECTORY_MATCHES_MAX: usize = 50_000;

/// Levels of directories in one another into which is looked.
pub const DIRECTORY_DEPTH_MAX: usize = 64;

/// A configuration file's size.
pub const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// Nesting of a YAML file. Litestream's own needs six.
pub const YAML_DEPTH_MAX: usize = 64;

/// Values of a YAML file with its aliases written out, so that aliases cannot multiply: twenty for each of
/// [`DATABASES_MAX`] databases.
pub const YAML_NODES_MAX: usize = 1_000_000;

/// How long a reading of the configuration may take; one of tens of thousands of databases on a slow disk needs its time.
pub const CONFIG_READ_TIMEOUT: Duration = Duration::from_secs(300);

/// How often it is looked whether the files of the configuration have changed.
pub const CONFIG_GLANCE_INTERVAL: Duration = Duration::from_secs(1);

/// The configuration is read so often although its files are as they were, in case it depends on more than them.
pub const CONFIG_UNREAD_MAX: Duration = Duration::from_secs(600);

/// A reading that takes longer does not keep whoever asks for a reload waiting: another one begins beside it.
pub const CONFIG_READ_PATIENCE: Duration = Duration::from_secs(10);

/// Readings that hang beside each other, of which each keeps a thread.
pub const CONFIG_READS_HANGING_MAX: usize = 4;

/// The shortest duration that may be configured.
pub const DURATION_MIN: Duration = Duration::from_millis(1);

/// The same of an interval at which something is done: more often it would take a core.
pub const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// The longest: an objective such as a retention may be for ever.
pub const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Mistakes of one load that are shown.
pub const CONFIG_PROBLEMS_MAX: usize = 200;

/// Hosts of one kind of store whose requests are billed apart.
pub const BILLED_HOSTS_MAX: usize = 1_000;

/// Keys in a page of a listing as object stores give it, by which listings are billed.
pub const LISTED_PER_REQUEST: u64 = 1_000;

/// Keys in one page of a listing; a store that returns more is broken.
pub const LIST_PAGE_KEYS_MAX: usize = 100_000;

/// Pages in one listing of one prefix: 20 million keys on S3, whose pages hold 1000.
pub const LIST_PAGES_MAX: usize = 20_000;

/// Pages in a row of one listing without a file of Litestream's, after which its end is not waited for.
pub const FOREIGN_PAGES_MAX: usize = 100;

/// Length of an object key (S3 allows 1024 bytes).
pub const KEY_BYTES_MAX: usize = 4096;

/// Characters of one that a message repeats.
pub const QUOTED_KEY_CHARS_MAX: usize = 200;

/// Bytes that one ranged read may return.
pub const READ_BYTES_MAX: u64 = 64 << 20;

/// Runs of contiguous files remembered for one level of one replica. A replica with more holes than this is broken in
/// a way that the first holes already show.
pub const RUNS_MAX: usize = 10_000;

/// Snapshots remembered for one replica.
pub const SNAPSHOTS_MAX: usize = 10_000;

/// Page index of an LTX file: at 9 bytes a page, a database of 30 GB in pages of 4096.
pub const PAGE_INDEX_BYTES_MAX: u64 = 64 << 20;

/// v0.3 generations remembered for one replica.
pub const GENERATIONS_MAX: usize = 1_000;

/// Compressed size of the newest v0.3 segment, which has to be read to know where it ends.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// Decompressed size of a v0.3 segment.
pub const SEGMENT_DECODED_BYTES_MAX: u64 = 1 << 30;

/// Header of an `age` encrypted file, which has a line or two for each recipient.
pub const AGE_HEADER_BYTES_MAX: usize = 64 << 10;

/// A file with `age` identities.
pub const AGE_IDENTITY_FILE_BYTES_MAX: u64 = 64 << 10;

/// Decoded bytes of a v0.3 replica that are verified and written at once: what Litestream compresses at once. So much of
/// a WAL is gathered from its segments, so that a page that changes often is written once.
pub const REPLAY_BATCH_BYTES: usize = 4 << 20;

/// Bytes that a v0.3 snapshot may hold after the database in it, or as much again as that, whichever is more: files
/// grow in steps of up to some megabytes.
pub const SNAPSHOT_SURPLUS_BYTES_MAX: u64 = 64 << 20;

/// Pages kept of a transaction at the end of the WAL whose end is not there (yet). A larger one is written at once,
/// and cannot be taken back.
pub const OPEN_TRANSACTION_BYTES_MAX: usize = 32 << 20;

/// Objects that one restore of a v0.3 replica reads: a segment a second for eleven days behind one snapshot.
pub const REPLAY_OBJECTS_MAX: usize = 1_000_000;

/// Sampled positions kept for one database: at one a second, longer than any lag that is not already an emergency.
/// When full, the middle is thinned and the oldest unproven position is kept.
pub const POSITIONS_MAX: usize = 512;

/// WAL resets between two looks at a database after which the order of two WALs is still read from their salts. A WAL
/// that begins with a random salt comes to lie in this range once in four million times.
pub const WAL_RESETS_BETWEEN_LOOKS_MAX: u32 = 1024;

/// Samples kept for growth and write rates of one database.
pub const RATE_SAMPLES_MAX: usize = 128;

/// Samples kept for the growth of one replica: one a minute for an hour.
pub const GROWTH_SAMPLES_MAX: usize = 64;

/// Remote verifications in flight at once.
pub const VERIFICATIONS_MAX: usize = 32;

/// How long the first look at a replica may take, its turn included, before it counts as one that has not succeeded so
/// far: what is not known after that is told, and holds up nobody.
pub const FIRST_LOOK_PATIENCE: Duration = Duration::from_secs(120);

/// Probe queries of one database.
pub const DRILL_PROBES_MAX: usize = 32;

/// Text of one probe query.
pub const DRILL_QUERY_BYTES_MAX: usize = 64 << 10;

/// Drills that may follow each other without one that restores everything.
pub const DRILL_FULL_EVERY_MAX: u32 = 1_000;

/// Objects of a drill's record that the agent remembers; the record itself, as `--report` writes it, has all.
pub const DRILL_RECORD_OBJECTS_MAX: usize = 20;

/// Checks of a drill's record that the agent remembers.
pub const DRILL_RECORD_CHECKS_MAX: usize = 32;

/// Characters of one text of a drill's record that the agent remembers.
pub const DRILL_RECORD_TEXT_MAX: usize = 1_000;

/// Downloads of the last 24 hours that are remembered of one replica.
pub const DRILL_DOWNLOADS_MAX: usize = 64;

/// The longest time that one drill may be given: no other one runs meanwhile.
pub const DRILL_TIMEOUT_MAX: Duration = Duration::from_secs(7 * 86_400);

/// The least memory in which a drill's process can work: its program, SQLite's cache, and the objects in flight.
pub const DRILL_MEMORY_BYTES_MIN: u64 = 64 << 20;

/// `-shm` descriptors kept open, so that the last commits before a database is closed are still counted.
pub const HELD_DESCRIPTORS_MAX: usize = 1_024;

/// Connections to the HTTP server of which none has a request in work: that have not sent a complete head yet, or are kept
/// for the next one. With more, those that were silent for longest are closed.
pub const CONNECTIONS_WAITING_MAX: usize = 4096;

/// Such connections of one address, or of one network of IPv6 (/64), which is what one host may have for itself.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 64;

/// Requests that are answered at once: until the client has taken the answer. With more, those whose clients read slowest
/// are given up.
pub const REQUESTS_WORKING_MAX: usize = 256;

/// The longest that a client which reads takes nothing of its answer; one that pauses for longer gives way before others.
pub const READ_PAUSE_MAX: Duration = Duration::from_millis(250);

/// Bytes a second that it takes at least, from the second one on.
pub const READ_RATE_MIN: u64 = 32 << 10;

/// Bytes of answers that were made of earlier reports and are still being read; with more, the clients of some are given up.
pub const ANSWERS_OLD_BYTES_MAX: usize = 64 << 20;

/// Answers that are made for one request each, out of a large report, at once.
pub const ANSWERS_MADE_MAX: usize = 4;

/// Connections of either kind where hardly any file may be opened.
pub const CONNECTIONS_MIN: usize = 8;

/// Files that this process lets itself open, if it may: as many as it can use.
pub const DESCRIPTORS_MAX: u64 = 1 << 16;

/// Connections that wait to be accepted: as many as Linux allows by default (`net.core.somaxconn`).
pub const LISTEN_BACKLOG: u32 = 4096;

/// How often it is looked whether the web configuration, or a file that it names, has changed.
pub const WEB_CONFIG_INTERVAL: Duration = Duration::from_secs(1);

/// Passwords that are compared at once: each takes a good part of a second of one core.
pub const PASSWORDS_COMPARED_MAX: usize = 2;

/// Passwords of one address that wait to be compared.
pub const PASSWORDS_WAITING_MAX: usize = 4;

/// Passwords of all addresses that are compared or wait for it: a part of the requests in work.
pub const PASSWORDS_WAITING_ALL_MAX: usize = 64;

/// Passwords that were right and are not compared again.
pub const PASSWORDS_KNOWN_MAX: usize = 100;

/// Time that a client has for the handshake of TLS.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests that one connection of HTTP/2 may have in work at once.
pub const STREAMS_MAX: u32 = 16;

/// Requests that a client of HTTP/2 may take back before they are looked at (CVE-2023-44487).
pub const STREAM_RESETS_MAX: usize = 16;

/// Intervals after which a round of a collector is late.
pub const ROUND_INTERVALS_MAX: f64 = 3.0;

/// It may be this much later still: the machine is busy, or one look waits for its time-out.
pub const ROUND_SLACK_SECONDS: f64 = 120.0;

/// Body of a request to the HTTP server.
pub const REQUEST_BODY_BYTES_MAX: usize = 64 << 10;

/// Characters of the name of a host that are repeated to whoever asked for it.
pub const REPEATED_NAME_CHARS_MAX: usize = 100;

/// Time a client has to send its request head.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an exposition up to which it is kept uncompressed as well, until the next report.
pub const PLAIN_KEPT_BYTES_MAX: u64 = 4 << 20;

/// Reports in a row for which nobody scrapes, after which what was rendered for the last scrape is forgotten: five minutes
/// of them, at the shortest usual interval.
pub const REPORTS_UNASKED_MAX: u64 = 300;

/// Age of the newest report above which the agent is neither healthy nor ready. One is published every half minute.
pub const REPORT_AGE_MAX: Duration = Duration::from_secs(300);

/// Time that open requests have to finish when the agent stops.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// Time that the agent has to save its state when it stops: a third of what systemd and two thirds of what Kubernetes
/// usually wait before they kill.
pub const LAST_SAVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Size of one object. S3 and every filesystem in use stay far below; a listing that says more is broken.
pub const OBJECT_BYTES_MAX: u64 = 1 << 50;

/// Body of any answer that is not an object's content: 1000 keys of 1024 escaped bytes fit.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What a store says of why it refuses something.
pub const REFUSAL_BYTES_MAX: u64 = 64 << 10;

/// A token and what comes with it.
pub const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// One document of the settings or of the policy of a bucket.
pub const BUCKET_SETTINGS_BYTES_MAX: u64 = 1 << 20;

/// Idle connections that are kept open to one host.
pub const IDLE_CONNECTIONS_MAX: usize = 32;

/// Calls to stores in flight at once, over all places; each place has its own, lower, bound.
pub const STORE_CALLS_MAX: usize = 1024;

/// Bytes of an answer by HTTP/1 that are read at once, and its whole head. Each connection that is used has memory for them.
pub const ANSWER_READ_BYTES_MAX: usize = 128 << 10;

/// Elements in one another in an XML document; a listing has five.
pub const XML_DEPTH_MAX: usize = 64;

/// A file that a server sends whole although a part of it was asked for.
pub const WHOLE_FILE_BYTES_MAX: u64 = 4 << 20;

/// Objects of one replica whose names are kept where a store cannot be asked for those below a prefix (NATS). Litestream
/// keeps a few thousand.
pub const OBJECTS_KEPT_MAX: usize = 200_000;

/// Objects of one such store of which is remembered where their chunks begin.
pub const NATS_WALKS_MAX: usize = 4;

/// Servers of a cluster of NATS that are remembered.
pub const NATS_SERVERS_MAX: usize = 16;

/// Bytes of these names, of which Litestream's are about 40 long.
pub const NAMES_KEPT_BYTES_MAX: usize = 32 << 20;

/// How long such names are brought up to date before all are read anew, which finds what left no trace.
pub const LISTED_ANEW_AFTER: Duration = Duration::from_secs(3600);

/// Folders below one prefix; Litestream makes one for each level or generation.
pub const FOLDERS_MAX: usize = 100_000;

/// Agents that may share a fleet between them.
pub const SHARDS_MAX: u32 = 1000;

/// Folders in one another, below a place that is observed, in which replicas are looked for.
pub const OBSERVED_DEPTH_MAX: usize = 8;

/// Folders below a place that is observed into which one round looks.
pub const OBSERVED_FOLDERS_MAX: usize = 2 * DATABASES_MAX;

/// Requests at the same time of a round that looks for replicas below a place.
pub const OBSERVED_REQUESTS_MAX: usize = 16;

/// How long one round that looks for replicas below a place may take; the next one goes on with what is new.
pub const OBSERVE_TIMEOUT: Duration = Duration::from_secs(120);

/// After this at the earliest, a place that could not be listed is tried again, and one that could because somebody who is
/// not known asks for a reload.
pub const OBSERVE_AGAIN: Duration = Duration::from_secs(300);

/// Pages that are followed to list the folders below one prefix.
pub const FOLDER_PAGES_MAX: usize = 100;

/// File with additional certificate authorities.
pub const CA_FILE_BYTES_MAX: u64 = 16 << 20;

/// Databases and replicas of a report that is rendered where it is asked for; above, about 20 000 series, it is done
/// where blocking is allowed.
pub const INLINE_RENDER_TARGETS_MAX: usize = 800;

/// Databases in one answer of the API.
pub const API_ROWS_MAX: usize = 1000;

/// Rows of a table on one page; the rest is on others, or counted.
pub const PAGE_ROWS_MAX: usize = 100;

/// Groups of equal findings on the front page, and names in one of them.
pub const PAGE_CARDS_MAX: usize = 20;
pub const PAGE_NAMES_MAX: usize = 8;

/// Databases that are named to whoever asks for one that is not there; the rest is counted.
pub const KNOWN_NAMES_MAX: usize = 10;

/// Databases that `check` lists by themselves; the rest is counted.
pub const OVERVIEW_ROWS_MAX: usize = 16;

/// Checks of which `check` tells below its list; the rest is counted.
pub const OVERVIEW_FINDINGS_MAX: usize = 4;

/// Databases that are named where several have the same finding; the rest is counted.
pub const OVERVIEW_NAMES_MAX: usize = 3;

/// Head of a request to the HTTP server.
pub const REQUEST_HEAD_BYTES_MAX: usize = 32 << 10;

/// Time that a client may leave an answer unread.
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Time that a reload of the configuration may take before whoever asked for it is told so.
pub const RELOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The least time between two reloads of the configuration that somebody asks for.
pub const RELOAD_PAUSE_MIN: Duration = Duration::from_millis(200);

/// Requests to reload that wait for an answer.
pub const RELOADS_WAITING_MAX: usize = 32;

/// Reads of the event queue in one poll, 64 KiB each. A queue that is still not empty counts as overflown.
pub const EVENT_READS_MAX: usize = 256;

/// Databases without trusted events that one poll looks at, in turn.
pub const POLLED_PER_POLL_MAX: usize = 256;

/// Polls in a row in which a wal-index may be unreadable before it counts as corrupt and not as being written.
pub const TORN_POLLS_MAX: u8 = 3;

/// Bytes of one WAL that one look scans; a longer scan goes on at the next look.
pub const WAL_SCAN_BYTES_MAX: u64 = 1 << 30;

/// Frames at the end of a WAL among which a look finds pages to compare with the database file.
pub const COMPARED_FRAMES_MAX: u32 = 16_384;

/// Pages that a first look compares, besides page 1, and each later one that is thorough: others each time.
pub const COMPARED_PAGES_MAX: usize = 64;
pub const COMPARED_AGAIN_MAX: usize = 16;

/// Frames whose headers one look reads to count commits after the wal-index was rebuilt.
pub const WAL_COUNT_FRAMES_MAX: u32 = 1 << 20;

/// Directory entries that a look at Litestream's metadata directory visits.
pub const STAGING_ENTRIES_MAX: usize = 100_000;

/// Directory levels below Litestream's metadata directory that hold anything.
pub const STAGING_DEPTH_MAX: usize = 4;

/// Newest local level-0 files whose headers are read.
pub const STAGED_FILES_MAX: usize = 64;

/// Bytes of an object that a restore reads and decodes at once. So many are held for each download and each thread.
pub const RESTORE_PIECE_BYTES: u64 = 1 << 20;

/// The least that a restore asks for at once after reads have failed, so that a connection that is reset after some
/// tens of thousands of bytes still brings a restore to its end.
pub const RESTORE_READ_BYTES_MIN: u64 = 16 << 10;

/// Attempts in a row that bring nothing, after which a restore gives up: about half a minute.
pub const RESTORE_ATTEMPTS_MAX: u32 = 10;

/// What every disk is content with, in memory as in a file, where it is written to past the cache.
pub const DISK_ALIGNMENT: usize = 4096;

/// Files of which a restore reads all at once to give the pages in their order: a few pieces of each are held.
pub const STREAMED_FILES_MAX: usize = 16;

/// Times that a restore plans anew because an object was gone when it was read, as Litestream's retention deletes it.
pub const RESTORE_PLANS_MAX: u32 = 3;

/// Reads at once in one directory. A directory on a dead network mount keeps so many threads.
pub const DIRECTORY_READS_MAX: usize = 4;

/// Calls at once over one connection to an SFTP server. Each holds few handles open there, and OpenSSH's are texts to the
/// client only while there are fewer than 128.
pub const SFTP_CALLS_MAX: usize = 16;

/// Entries that are read of one directory of an SFTP server, where each may be read anew for each page.
pub const SFTP_ENTRIES_MAX: usize = 1_000_000;

/// Directories that are entered to see which of them hold files.
pub const SFTP_ENTERED_MAX: usize = 256;

/// Collections of WebDAV that are listed for the same.
pub const WEBDAV_LISTED_MAX: usize = 64;

/// File with a private key.
pub const SFTP_KEY_FILE_BYTES_MAX: u64 = 64 << 10;

/// Files of one replica that its coverage map is made of, held only while it is made: 24 MB. With more, the oldest are
/// put together and the map begins behind them.
pub const TIMELINE_FILES_MAX: usize = 500_000;

/// Spans of one coverage map; with more, the oldest are shown as one.
pub const TIMELINE_SPANS_MAX: usize = 64;

/// States remembered of one replica since everything was listed, to go on with its map. With more, every second one is
/// forgotten, so that the map claims less than there is.
pub const TIMELINE_TAIL_MAX: usize = 512;

/// Entries of `/proc` that are looked at for a Litestream.
pub const PROCESSES_MAX: usize = 100_000;

/// Open files of one Litestream that are looked at: it has about three open for each database.
pub const OPEN_FILES_MAX: usize = 200_000;

/// Locks of all processes that are looked at for those of a Litestream whose open files do not show.
pub const LOCKS_MAX: usize = 1_000_000;

/// Databases for which a map is drawn in the terminal; more are a line each.
pub const BANDS_MAX: usize = 5;

/// Time that one probe query of a restore drill may take.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a probe query that SQLite does not end may go on; then it is left to itself, and ends with the process.
pub const PROBE_GRACE: Duration = Duration::from_secs(5);

/// How long a drill's process may outlive the drill's timeout, if nobody else ends it.
pub const DRILL_OVERTIME: Duration = Duration::from_secs(60);

/// Bytes of one value, row or text in a probe query.
pub const PROBE_VALUE_BYTES_MAX: i32 = 64 << 20;

/// Instructions of the program that SQLite makes of a probe query.
pub const PROBE_PROGRAM_MAX: i32 = 1 << 20;

/// Characters of an answer, of a problem or of a reason that a drill's record quotes.
pub const DRILL_QUOTE_CHARS_MAX: usize = 300;

/// Problems of one check that a drill asks SQLite for; the first says enough, the others are counted.
pub const DRILL_PROBLEMS_MAX: u32 = 100;

/// Bytes of a drill job, which holds a probe's queries and a replica's place.
pub const DRILL_JOB_BYTES_MAX: u64 = 16 << 20;

/// Bytes that the process of one drill may write to its parent: a record names each object that was restored.
pub const DRILL_OUTPUT_BYTES_MAX: u64 = 256 << 20;

/// Bytes of what the process of a drill complained, of which the end is kept.
pub const DRILL_COMPLAINT_BYTES_MAX: usize = 4 << 10;

/// Memory of a drill's process beyond what its policy grants: program, runtime and thread stacks.
pub const DRILL_MEMORY_HEADROOM: u64 = 128 << 20;

/// How long a restored copy is kept for the next drill when there is none.
pub const KEPT_COPY_AGE_MAX: Duration = Duration::from_secs(90 * 86_400);

/// What is written beside such a copy of where it comes from.
pub const KEPT_MANIFEST_BYTES_MAX: u64 = 64 << 10;

/// Free space that has to be left beside a restored database, beyond a tenth of its size.
pub const DRILL_SPACE_MARGIN: u64 = 64 << 20;

/// The least that restores and drills leave free on a filesystem, whatever is written to it: a twentieth of it, but at
/// least this, or a quarter where it is small, and at most [`SPACE_RESERVE_MAX`].
pub const SPACE_RESERVE_MIN: u64 = 64 << 20;
pub const SPACE_RESERVE_MAX: u64 = 1 << 30;

/// Bytes that are written between two looks at how much is free.
pub const SPACE_LOOK_BYTES: u64 = 8 << 20;

/// Bytes that are left free on a filesystem of this size.
pub fn space_reserve(filesystem: u64) -> u64 {
    (filesystem / 20).clamp(SPACE_RESERVE_MIN.min(filesystem / 4), SPACE_RESERVE_MAX)
}

/// Attempts to read the live database at a position that the replica has reached, while both go on.
pub const LIVE_IMAGE_ATTEMPTS: usize = 4;

/// Pages of a live database that is compared, 8 bytes of memory each, twice.
pub const LIVE_IMAGE_PAGES_MAX: u64 = 32 << 20;

/// Objects of one replica that are remembered as verified: about 100 KiB, in memory and in the journal.
pub const VERIFIED_OBJECTS_MAX: usize = 1_024;

/// Objects that one look hands over to verification from one folder (a level, or the WAL of a generation), newest last.
pub const LISTED_FOLDER_MAX: usize = 8_192;

/// The same from all folders.
pub const LISTED_OBJECTS_MAX: usize = 32_768;

/// Files that may be in the restore plan of one replica; a longer plan is verified at its end.
pub const PLAN_CANDIDATES_MAX: usize = 1_024;

/// New objects of one replica that wait to be verified although no restore of the latest state needs them.
pub const VERIFY_BACKLOG_MAX: usize = 256;

/// How long nothing has to be committed before a replica is looked at less often: Litestream's compactions, of which the
/// highest is made each hour by default, are done by then, and were seen.
pub const REST_AFTER: Duration = Duration::from_secs(2 * 3600);

/// Requests that verification makes after one look at a replica; what is bad is read a second time.
pub const VERIFY_REQUESTS_MAX: u64 = 32;

/// Requests for the structure of one replica's objects that one `streamgauge check` makes.
pub const VERIFY_ONCE_REQUESTS_MAX: u64 = 512;

/// Objects up to this size are read whole, with one request.
pub const VERIFY_WHOLE_BYTES_MAX: u64 = 64 << 10;

/// Bytes that one request asks for when an object's content is streamed.
pub const VERIFY_CHUNK_BYTES: u64 = 1 << 20;

/// Page index that is read apart from the pages; a larger one is checked when the content is read.
pub const VERIFY_INDEX_BYTES_MAX: u64 = 8 << 20;

/// Verifications of replicas that run at the same time.
pub const VERIFYING_MAX: usize = 2;

/// The longest that one of them may take; what it read until then counts.
pub const VERIFY_TIMEOUT: Duration = Duration::from_secs(600);

/// Bytes in which the page index of one object is kept, about three a page: a database of 4 GB in pages of 4096.
pub const FRAME_INDEX_BYTES_MAX: usize = 3 << 20;

/// The same for all objects of one replica.
pub const FRAME_INDEXES_BYTES_MAX: usize = 4 << 20;

/// The shortest time between two rounds of spot checks of one replica.
pub const SPOT_INTERVAL_MIN: Duration = Duration::from_secs(10);

/// Pages that one round compares, at most.
pub const SPOT_PAGES_MAX: u32 = 256;

/// Pages that are known to differ and are remembered of one replica; so many are looked at again by each round.
pub const SPOT_MISMATCHES_MAX: usize = 16;

/// Bytes of WAL that are read to know single pages at a position of it.
pub const SPOT_WAL_BYTES_MAX: u64 = 1 << 30;

/// Rounds of spot checks that run at the same time.
pub const SPOTTING_MAX: usize = 4;

/// The longest that one round may take.
pub const SPOT_TIMEOUT: Duration = Duration::from_secs(120);

/// The first round comes within this time, so that those of many replicas do not come at once.
pub const SPOT_SPREAD: Duration = Duration::from_secs(600);

/// After a round that could compare nothing, and while a page is known to differ, the next one comes after so long.
pub const SPOT_AGAIN: Duration = Duration::from_secs(300);

/// Looks and rounds of one `streamgauge check`: one to see a difference, one to believe it, and the others for what raced.
pub const SPOT_ONCE_ROUNDS: usize = 6;

/// Rounds in a row that raced a commit or a checkpoint and are tried again with the next look at once.
pub const SPOT_RACES_MAX: u32 = 10;

/// Pages that one `streamgauge check --verify content` compares of each replica.
pub const SPOT_ONCE_PAGES: u32 = 64;

/// Files that one look asks for by their names, in place of a listing that costs as much as twelve of them.
pub const PEEKS_MAX: u32 = 6;

/// Segments of v0.3 that one look reads by their names, in place of a listing that costs as much as twelve of them.
pub const FOLLOWED_MAX: u64 = 12;

/// A v0.3 replica with more objects than that is listed as a whole only each [`WHOLE_LISTING_INTERVAL`]: 24 requests.
pub const LARGE_REPLICA_OBJECTS: u64 = 24_000;

/// Between two whole listings of a large v0.3 replica.
pub const WHOLE_LISTING_INTERVAL: Duration = Duration::from_secs(86_400);

/// Newest objects of one replica that are not what they should be, and behind which one look searches for one that is.
pub const ODD_NEWEST_MAX: usize = 3;

/// Findings that are shown of one replica.
pub const FINDINGS_MAX: usize = 100;

/// Runs of pages of one file that are compared with what another one lacks.
pub const PAGE_RUNS_MAX: usize = 4_096;

/// Damaged objects of one replica that have a line on the page.
pub const PAGE_FINDINGS_MAX: usize = 10;

/// Alerts that are remembered: pending, firing and lately resolved. With more, the least severe are counted only.
pub const ALERTS_MAX: usize = 10_000;
/// Minutes of requests to a store that are remembered to say how many fail.
pub const REQUEST_WINDOW_MINUTES: usize = 15;

/// With fewer requests in that time, nothing is said of how many fail: one of one is no rate.
pub const REQUEST_WINDOW_MIN: u64 = 10;

/// Servers whose clocks, and whose wishes to be left alone for a while, are remembered.
pub const CLOCK_HOSTS_MAX: usize = 64;

/// How far a server's clock may be from ours to be a clock: a machine that begins in 1970 still sees who is wrong.
pub const CLOCK_OFFSET_MAX: Duration = Duration::from_secs(100 * 366 * 86_400);

/// How long a server is left alone that asks for it (`Retry-After`), whatever it asks for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// How long what a server said of its clock is believed.
pub const CLOCK_AGE_MAX: Duration = Duration::from_secs(900);

/// The least time between two beacons, each of which is a request that is paid for.
pub const BEACON_INTERVAL_MIN: Duration = Duration::from_secs(2);

/// A beacon, which has a few lines.
pub const BEACON_BYTES_MAX: u64 = 16 << 10;

/// Characters of a text that a beacon quotes.
pub const BEACON_TEXT_MAX: usize = 128;

/// Beacons that are being written to one place at once.
pub const BEACONS_IN_FLIGHT_MAX: usize = 4;

/// How often the settings of a bucket are looked at.
pub const POSTURE_INTERVAL: Duration = Duration::from_secs(86_400);

/// The same after an attempt that found out nothing.
pub const POSTURE_RETRY: Duration = Duration::from_secs(3_600);

/// How long one look at all settings of a bucket may take, with the credentials that it needs.
pub const POSTURE_TIMEOUT: Duration = Duration::from_secs(120);

/// Buckets whose settings are looked at; an agent with more says nothing of the rest.
pub const BUCKETS_MAX: usize = 1_000;

/// Labels that the configuration may add to every alert.
pub const ALERT_LABELS_MAX: usize = 20;

/// Silences in the configuration.
pub const SILENCES_MAX: usize = 200;
/// Receivers of one configuration.
pub const RECEIVERS_MAX: usize = 64;

/// Alerts in one message to a person; the rest is counted.
pub const MESSAGE_ALERTS_MAX: usize = 50;

/// Alerts in one request to an Alertmanager, as Prometheus has it.
pub const ALERTMANAGER_BATCH_MAX: usize = 64;

/// How long a resolved alert is kept, so that a receiver that was down is told of its end, and repeated to an Alertmanager:
/// as long as Prometheus does.
pub const RESOLVED_RETENTION: Duration = Duration::from_secs(15 * 60);

/// The longest wait between two attempts to reach a receiver.
pub const RECEIVER_BACKOFF_MAX: Duration = Duration::from_secs(300);

/// Time that one message may take, from the connection to the end of the answer.
pub const RECEIVER_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that are read of a receiver's answer.
pub const RECEIVER_ANSWER_BYTES_MAX: usize = 4 << 10;

/// Bytes of a chat message: Discord refuses more than 2000 characters.
pub const CHAT_TEXT_BYTES_MAX: usize = 1_900;

/// Bytes of an ntfy message: the server makes a file of more than 4096.
pub const NTFY_TEXT_BYTES_MAX: usize = 3_500;

/// Bytes of the text that a dead-man's switch is sent.
pub const DEADMAN_TEXT_BYTES_MAX: usize = 8 << 10;

/// File that holds one secret.
pub const SECRET_FILE_BYTES_MAX: u64 = 64 << 10;

/// File with an `sse-customer-key`: 32 bytes in base64 and a line end.
pub const SSE_KEY_FILE_BYTES_MAX: u64 = 4096;

/// Bytes of a mail's text.
pub const MAIL_TEXT_BYTES_MAX: usize = 64 << 10;

/// Time that one mail may take, with all that is said before it.
pub const MAIL_TIMEOUT: Duration = Duration::from_secs(30);
/// The report of another agent, which `why` reads: some kilobytes for each of [`DATABASES_MAX`] databases.
pub const AGENT_REPORT_BYTES_MAX: usize = 256 << 20;

/// Characters that are shown of why an agent is not healthy, or not ready.
pub const AGENT_REASON_CHARS_MAX: usize = 200;

/// Bytes of the history that is kept for charts, of all databases together: about 500 that change all the time. With more,
/// it reaches back less far for all; it takes a database of which nothing changes half a kilobyte.
pub const HISTORY_BYTES_MAX: usize = 32 << 20;

/// How far back that history is kept to the minute, and how far back to the hour, in seconds, where there is room.
pub const HISTORY_FINE: u32 = 6 * 3_600;
pub const HISTORY_HOURS: u32 = 7 * 86_400;

/// Lines of evidence that `why` prints; the rest is counted.
pub const EVIDENCE_LINES_MAX: usize = 20;
