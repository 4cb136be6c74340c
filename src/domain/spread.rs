//! Numbers that follow from a name and are spread evenly over many of them. All agents of a fleet have to agree on them,
//! whatever their version, and after every start: they do not change.

/// FNV-1a with 64 bits. Names that differ in their last letter alone have hashes close to each other: see [`mixed`].
pub fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// From one state of SplitMix64 to the next.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The numbers of SplitMix64 from a seed, without end.
pub fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    (0_u64..).map(move |index| mixed(seed.wrapping_add(index.wrapping_mul(STEP))))
}

/// What SplitMix64 makes of a state: every bit of the result depends on every bit of `value`.
pub fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(STEP);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A number from 0 up to 1 that follows from two names.
pub fn share(database: &str, replica: &str) -> f64 {
    let mixed = mixed(hash(database.bytes().chain([0]).chain(replica.bytes())));
    // 53 bits are what a double holds exactly, so that 1 is never reached.
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}
