//! The blocks of all groups of layers, and what every operation on a sequence does to them.

use std::time::Duration;

use super::chain::Chain;
use super::prefix_cache::{Found, PrefixCache};
use super::{BLOCK_TOKENS, BlockId, BlockPool, BlockTable, LayerGroup, blocks_for};

/// A sequence's table of each group.
pub(crate) type BlockTables = Vec<BlockTable>;

/// A block that has to be copied before a step writes to the copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockCopy {
    /// Whose layers.
    pub(crate) group: usize,
    /// The shared block.
    pub(crate) from: BlockId,
    /// The one that is the sequence's own.
    pub(crate) to: BlockId,
}

/// How the blocks of a group are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Usage {
    /// Blocks that sequences hold.
    pub(crate) held: u32,
    /// Blocks that the prefix cache alone keeps.
    pub(crate) idle: u32,
    /// Those of them that a pin keeps.
    pub(crate) pinned: u32,
    /// Blocks in all.
    pub(crate) total: u32,
}

/// One group's pool.
#[derive(Debug)]
struct Group {
    pool: BlockPool,
    window: Option<u32>,
}

impl Group {
    /// The first block that a row at a position, or any later one, reads.
    fn first_read(&self, position: u32) -> usize {
        let first = self.window.map_or(0, |window| (position + 1).saturating_sub(window));
        (first / BLOCK_TOKENS) as usize
    }

    /// Blocks that can be had.
    fn available(&self) -> u32 {
        self.pool.free() + self.pool.idle()
    }

    /// The most blocks that a sequence of so many positions has to hold at a time.
    fn needed(&self, positions: u32) -> u32 {
        let most = self.window.map_or(u32::MAX, |window| blocks_for(window) + 2);
        blocks_for(positions).min(most)
    }
}

/// Pools and prefix cache.
#[derive(Debug)]
pub(crate) struct BlockStore {
    groups: Vec<Group>,
    cache: PrefixCache,
}

impl BlockStore {
    /// Free blocks of each group.
    pub(crate) fn new(groups: &[LayerGroup]) -> Self {
        let group =
            |group: &LayerGroup| Group { pool: BlockPool::new(group.blocks), window: group.window };
        let cache = PrefixCache::new(groups.len());
        Self { groups: groups.iter().map(group).collect(), cache }
    }

    /// Tables without positions.
    pub(crate) fn tables(&self) -> BlockTables {
        self.groups.iter().map(|_| BlockTable::default()).collect()
    }

    /// Whether a sequence of so many positions can be held when nothing else is.
    pub(crate) fn holds(&self, positions: u32) -> bool {
        self.groups.iter().all(|group| group.needed(positions) <= group.pool.total())
    }

    /// The longest sequence that can be held, in positions.
    pub(crate) fn positions_max(&self) -> u32 {
        let most = |group: &Group| group.pool.total().saturating_mul(BLOCK_TOKENS);
        self.groups
            .iter()
            .filter(|group| group.window.is_none())
            .map(most)
            .min()
            .unwrap_or(u32::MAX)
    }

    /// How the blocks are used, in the group of layers that is nearest to its end.
    pub(crate) fn usage(&self) -> Usage {
        let usage = |(number, Group { pool, .. }): (usize, &Group)| Usage {
            held: pool.held(),
            idle: pool.idle(),
            pinned: self.cache.pinned(number),
            total: pool.total(),
        };
        let fullness =
            |usage: &Usage| (u64::from(usage.held) << 32) / u64::from(usage.total.max(1));
        let all = self.groups.iter().enumerate().map(usage);
        all.max_by_key(fullness).unwrap_or_default()
    }

    /// How many of the first `most` blocks of a chain can be had from the cache: all of them in
    /// groups that see everything, and in the others those that the next position reads.
    pub(crate) fn lookup(&self, chain: &Chain, most: u32) -> u32 {
        let mut runs = vec![0; self.groups.len()];
        let mut best = 0;
        for index in 0..most as usize {
            let link = chain.link(index);
            for (number, (group, run)) in self.groups.iter().zip(&mut runs).enumerate() {
                match self.cache.find(link, number) {
                    Found::Block(_) => *run += 1,
                    Found::Nothing | Found::Clash if group.window.is_none() => return best,
                    Found::Nothing | Found::Clash => *run = 0,
                }
            }
            let next = index as u32 + 1;
            let reads = |group: &Group| next as usize - group.first_read(next * BLOCK_TOKENS);
            if self.groups.iter().zip(&runs).all(|(group, run)| *run >= reads(group)) {
                best = next;
            }
        }
        best
    }

    /// The first blocks of a chain, which [`Self::lookup`] has found.
    pub(crate) fn attach(&mut self, chain: &Chain, blocks: u32) -> BlockTables {
        let mut tables = BlockTables::new();
        for number in 0..self.groups.len() {
            let gone = self.groups[number].first_read(blocks * BLOCK_TOKENS).min(blocks as usize);
            let mut entries = vec![BlockId::default(); gone];
            for index in gone..blocks as usize {
                let Found::Block(block) = self.cache.find(chain.link(index), number) else {
                    panic!("a lookup has found the block");
                };
                self.retain(number, block);
                entries.push(block);
            }
            tables.push(BlockTable::new(entries, gone));
        }
        tables
    }

    /// How many of a chain's first blocks, which [`Self::lookup`] has found, no table holds; by
    /// group.
    pub(crate) fn idle(&self, chain: &Chain, blocks: u32) -> Vec<u32> {
        let is_idle = |number: usize, index: usize| match self.cache.find(chain.link(index), number)
        {
            Found::Block(block) => self.groups[number].pool.count(block) == 0,
            Found::Nothing | Found::Clash => false,
        };
        let idle = |number: usize| {
            let first = self.groups[number].first_read(blocks * BLOCK_TOKENS);
            (first..blocks as usize).filter(|index| is_idle(number, *index)).count() as u32
        };
        (0..self.groups.len()).map(idle).collect()
    }

    /// No block of any group.
    pub(crate) fn none(&self) -> Vec<u32> {
        vec![0; self.groups.len()]
    }

    /// Whether there are blocks for so many positions of a sequence that has the first `shared`
    /// blocks from elsewhere, when `reserved` blocks of each group are kept for others.
    pub(crate) fn admits(&self, positions: u32, shared: u32, reserved: &[u32]) -> bool {
        self.groups.iter().zip(reserved).all(|(group, reserved)| {
            let gone = group.first_read(shared * BLOCK_TOKENS) as u32;
            let missing = group.needed(positions).saturating_sub(shared.saturating_sub(gone));
            missing + reserved <= group.available()
        })
    }

    /// Blocks of each group that tables still lack for so many positions.
    pub(crate) fn lacking(&self, tables: &[BlockTable], positions: u32) -> Vec<u32> {
        let lacking = |(group, table): (&Group, &BlockTable)| match group.window {
            None => blocks_for(positions).saturating_sub(table.blocks().len() as u32),
            Some(_) => group.needed(positions).saturating_sub(table.held().count() as u32),
        };
        self.groups.iter().zip(tables).map(lacking).collect()
    }

    /// Makes the positions from `start` to `end` writable: with places, and in blocks of no
    /// other table. Gives what has to be copied first, or `None` if there are too few blocks;
    /// then nothing has changed.
    #[must_use]
    pub(crate) fn reserve(
        &mut self,
        tables: &mut [BlockTable],
        start: u32,
        end: u32,
    ) -> Option<Vec<BlockCopy>> {
        let enough = self.groups.iter().zip(&*tables).all(|(group, table)| {
            let shared = group.shared_tail(table, start).is_some();
            let missing = blocks_for(end).saturating_sub(table.blocks().len() as u32);
            missing + u32::from(shared) <= group.available()
        });
        if !enough {
            return None;
        }
        let mut copies = Vec::new();
        for (number, table) in tables.iter_mut().enumerate() {
            if let Some((index, from)) = self.groups[number].shared_tail(table, start) {
                let to = self.take(number);
                table.replace(index, to);
                self.release_block(number, from);
                copies.push(BlockCopy { group: number, from, to });
            }
            while table.positions() < end {
                table.push(self.take(number));
            }
        }
        Some(copies)
    }

    /// The last position up to which [`Self::reserve`] succeeds, at least `start`.
    pub(crate) fn affordable(&self, tables: &[BlockTable], start: u32) -> u32 {
        let most = |(group, table): (&Group, &BlockTable)| {
            let shared = u32::from(group.shared_tail(table, start).is_some());
            let more = group.available().checked_sub(shared)?;
            Some(table.positions().saturating_add(more.saturating_mul(BLOCK_TOKENS)))
        };
        let all = self.groups.iter().zip(tables).map(most);
        all.map(|end| end.unwrap_or(start)).min().unwrap_or(start).max(start)
    }

    /// Enters the full blocks of a sequence, from block `from` on, whose positions were
    /// computed: `computed` of them. Where another sequence has entered the same content, its
    /// block takes the place of the sequence's own.
    pub(crate) fn commit(
        &mut self,
        tables: &mut [BlockTable],
        chain: &Chain,
        from: u32,
        computed: u32,
    ) -> u32 {
        for index in from as usize..(computed / BLOCK_TOKENS) as usize {
            let link = chain.link(index);
            for (number, table) in tables.iter_mut().enumerate() {
                let Some(own) = table.get(index) else { continue };
                match self.cache.find(link, number) {
                    Found::Clash => return index as u32,
                    Found::Block(known) if known == own => {}
                    Found::Block(known) => {
                        self.retain(number, known);
                        table.replace(index, known);
                        self.release_block(number, own);
                    }
                    Found::Nothing => {
                        self.cache.enter(link, number, own);
                        self.groups[number].pool.cache(own, link.key);
                    }
                }
            }
        }
        from.max(computed / BLOCK_TOKENS)
    }

    /// Gives back the blocks that no row from `next` on reads.
    pub(crate) fn slide(&mut self, tables: &mut [BlockTable], next: u32) {
        for (number, table) in tables.iter_mut().enumerate() {
            let first = self.groups[number].first_read(next).min(table.blocks().len());
            while table.gone() < first {
                let block = table.shift();
                self.release_block(number, block);
            }
        }
    }

    /// Whether tables still have what [`Self::fork`] takes of them.
    pub(crate) fn forks(&self, tables: &[BlockTable], positions: u32) -> bool {
        let blocks = blocks_for(positions) as usize;
        self.groups.iter().zip(tables).all(|(group, table)| {
            table.gone() <= group.first_read(positions) && table.blocks().len() >= blocks
        })
    }

    /// Tables with the first positions of others. Blocks are shared, the last one even if it is
    /// not full.
    pub(crate) fn fork(&mut self, tables: &[BlockTable], positions: u32) -> BlockTables {
        let blocks = blocks_for(positions) as usize;
        let mut forked = BlockTables::new();
        for (number, table) in tables.iter().enumerate() {
            let gone = self.groups[number].first_read(positions).min(blocks);
            let entries = table.blocks()[..blocks].to_vec();
            entries[gone..].iter().for_each(|block| self.retain(number, *block));
            forked.push(BlockTable::new(entries, gone));
        }
        forked
    }

    /// Gives every block back and leaves the tables empty.
    pub(crate) fn release(&mut self, tables: &mut [BlockTable]) {
        for (number, table) in tables.iter_mut().enumerate() {
            while let Some(block) = table.pop() {
                self.release_block(number, block);
            }
        }
    }

    /// Forgets the first blocks of a chain, whose content turned out to be of no use.
    pub(crate) fn disown(&mut self, chain: &Chain, blocks: u32) {
        for index in 0..blocks as usize {
            let forgotten = self.cache.forget(chain.link(index).key);
            self.uncache(forgotten);
        }
    }

    /// Keeps the first blocks of a chain longer than others, until a point in time.
    pub(crate) fn pin(&mut self, chain: &Chain, until: Duration) {
        for index in 0..(chain.len() / BLOCK_TOKENS) as usize {
            self.cache.pin(chain.link(index).key, until);
        }
    }

    /// Ends the pins whose time is over.
    pub(crate) fn tick(&mut self, now: Duration) {
        self.cache.tick(now);
    }

    fn take(&mut self, group: usize) -> BlockId {
        if self.groups[group].pool.free() == 0 {
            let sees_all = self.groups[group].window.is_none();
            let given_up = self.cache.give_up(group, sees_all);
            self.uncache(given_up);
        }
        self.groups[group].pool.take().expect("free and idle blocks were counted")
    }

    fn uncache(&mut self, blocks: Vec<(usize, BlockId)>) {
        blocks.into_iter().for_each(|(group, block)| self.groups[group].pool.uncache(block));
    }

    fn retain(&mut self, group: usize, block: BlockId) {
        let pool = &mut self.groups[group].pool;
        if pool.count(block) == 0 {
            let key = pool.key(block).expect("an idle block is cached");
            self.cache.hold(key, group);
        }
        pool.retain(block);
    }

    fn release_block(&mut self, group: usize, block: BlockId) {
        if let Some(key) = self.groups[group].pool.release(block) {
            self.cache.let_go(key, group);
        }
    }

    /// Asserts that counts, tables and cache agree: these are all tables that there are.
    pub(crate) fn audit<'a>(&self, tables: impl Iterator<Item = &'a BlockTables> + Clone) {
        for (number, group) in self.groups.iter().enumerate() {
            let held = tables.clone().flat_map(|tables| tables[number].held());
            group.pool.audit(held.map(|(_, block)| block), self.cache.blocks(number));
        }
    }
}

impl Group {
    /// The block with a position, if a table has it and must not write to it: another table has
    /// it too, or the prefix cache knows it.
    fn shared_tail(&self, table: &BlockTable, position: u32) -> Option<(usize, BlockId)> {
        let index = (position / BLOCK_TOKENS) as usize;
        let block = table.get(index)?;
        let shared = self.pool.count(block) > 1 || self.pool.key(block).is_some();
        shared.then_some((index, block))
    }
}

#[cfg(test)]
mod tests;
