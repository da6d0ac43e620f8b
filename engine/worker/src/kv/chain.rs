//! What makes the content of a block: its tokens, and everything before them.

use aws_lc_rs::digest::{Context, SHA256};
use engine_api::{CacheNamespace, ModelDigest};

use super::BLOCK_TOKENS;

/// Names the content of a block: a hash over the parent's key and the block's tokens, and at
/// the root over the model and the cache namespace. The first 128 bits of SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct BlockKey(pub(super) [u8; 16]);

impl BlockKey {
    fn of(parent: &[u8], tokens: impl Iterator<Item = u8>) -> Self {
        let mut hash = Context::new(&SHA256);
        hash.update(parent);
        hash.update(&tokens.collect::<Vec<_>>());
        let digest = hash.finish();
        let key = digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
        Self(*key)
    }
}

/// Where a tenant's chains begin, for one model. Two roots have no block in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Root {
    pub(super) namespace: CacheNamespace,
    key: BlockKey,
}

impl Root {
    /// The root of a namespace's chains.
    pub(crate) fn new(model: &ModelDigest, namespace: CacheNamespace) -> Self {
        Self { namespace, key: BlockKey::of(&model.0, namespace.0.into_iter()) }
    }
}

/// The tokens of a sequence, and the key of each of its full blocks.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    root: Root,
    tokens: Vec<u32>,
    keys: Vec<BlockKey>,
}

/// One full block of a chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link<'a> {
    pub(super) namespace: CacheNamespace,
    pub(super) parent: BlockKey,
    pub(super) key: BlockKey,
    pub(super) tokens: &'a [u32; BLOCK_TOKENS as usize],
}

impl Chain {
    /// The chain of some tokens.
    pub(crate) fn new(root: Root, tokens: impl IntoIterator<Item = u32>) -> Self {
        let mut chain = Self { root, tokens: Vec::new(), keys: Vec::new() };
        tokens.into_iter().for_each(|token| chain.push(token));
        chain
    }

    /// Adds the next token.
    pub(crate) fn push(&mut self, token: u32) {
        self.tokens.push(token);
        if self.tokens.len().is_multiple_of(BLOCK_TOKENS as usize) {
            let start = self.tokens.len() - BLOCK_TOKENS as usize;
            let tokens = self.tokens[start..].iter().flat_map(|token| token.to_le_bytes());
            let key = BlockKey::of(&self.parent(self.keys.len()).0, tokens);
            self.keys.push(key);
        }
    }

    /// Tokens so far.
    pub(crate) fn len(&self) -> u32 {
        self.tokens.len() as u32
    }

    /// Whether another chain has the same content up to the end of the full block at an index.
    pub(crate) fn agrees(&self, other: &Self, index: u32) -> bool {
        let key = |chain: &Self| chain.keys.get(index as usize).copied();
        key(self).is_some() && key(self) == key(other)
    }

    /// The full block at an index.
    pub(super) fn link(&self, index: usize) -> Link<'_> {
        let (blocks, _) = self.tokens.as_chunks();
        let (namespace, parent) = (self.root.namespace, self.parent(index));
        Link { namespace, parent, key: self.keys[index], tokens: &blocks[index] }
    }

    fn parent(&self, index: usize) -> BlockKey {
        index.checked_sub(1).map_or(self.root.key, |parent| self.keys[parent])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(model: u8, namespace: u8, tokens: impl IntoIterator<Item = u32>) -> Chain {
        let model = ModelDigest([model; 32]);
        Chain::new(Root::new(&model, CacheNamespace([namespace; 16])), tokens)
    }

    #[test]
    fn a_key_depends_on_all_that_comes_before() {
        let base = chain(1, 1, 0..96);
        assert_eq!((base.len(), base.keys.len()), (96, 3));
        assert_eq!(base.keys, chain(1, 1, 0..100).keys);
        let others =
            [chain(2, 1, 0..96), chain(1, 2, 0..96), chain(1, 1, [9].into_iter().chain(1..96))];
        for other in others {
            assert!(base.keys.iter().all(|key| !other.keys.contains(key)));
        }
        let later = chain(1, 1, (0..64).chain(100..132));
        assert_eq!((later.keys[1], later.keys[2] == base.keys[2]), (base.keys[1], false));
    }

    #[test]
    fn a_link_names_its_parent() {
        let chain = chain(1, 1, 0..64);
        assert_eq!(chain.link(0).parent, chain.root.key);
        assert_eq!(chain.link(1).parent, chain.link(0).key);
        assert_eq!(chain.link(1).tokens[0], 32);
    }
}
