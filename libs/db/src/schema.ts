/**
 * The tables. Keys and roots are `bytea` of a fixed length; sealed values are `bytea` that only the sealing key opens. Every
 * rule of uniqueness is a constraint, so that it also holds between processes.
 */

import { sql } from 'drizzle-orm'
import {
  bigint,
  bigserial,
  boolean,
  check,
  customType,
  index,
  integer,
  numeric,
  pgSequence,
  pgTable,
  primaryKey,
  text,
  timestamp,
  uniqueIndex,
} from 'drizzle-orm/pg-core'

const bytes = customType<{ data: Buffer }>({ dataType: () => 'bytea' })
/** Not drizzle's own: that takes a string which pg has parsed for JSON, and parses it again. */
const json = customType<{ data: unknown; driverData: string }>({ dataType: () => 'jsonb', toDriver: JSON.stringify })
const time = (name: string) => timestamp(name, { withTimezone: true })
const id64 = (name: string) => bigint(name, { mode: 'number' })

/** Orders every change of a message that a list shows; see `queries/messages/announce.ts`. */
export const messageRevision = pgSequence('message_revision')

/** A DV cluster: who signs together, and how many are enough. */
export const clusters = pgTable(
  'clusters',
  {
    id: bigserial('id', { mode: 'number' }).primaryKey(),
    lockHash: bytes('lock_hash').unique(),
    name: text('name').notNull(),
    threshold: integer('threshold').notNull(),
    /** `list`: the keys of PUBLIC_KEYS_FILE that no lock covers; there is one such cluster at most. */
    source: text('source', { enum: ['lock', 'list', 'ssv'] })
      .notNull()
      .default('lock'),
    importedAt: time('imported_at').notNull().defaultNow(),
    /** When the deposits that its lock carries were verified and stored. */
    depositsReadAt: time('deposits_read_at'),
  },
  (table) => [uniqueIndex('clusters_one_list').on(table.source).where(sql`${table.source} = 'list'`)],
)

/** A validator public key the relayer may use. */
export const validators = pgTable(
  'validators',
  {
    id: bigserial('id', { mode: 'number' }).primaryKey(),
    publicKey: bytes('public_key').notNull().unique(),
    clusterId: id64('cluster_id').references(() => clusters.id),
    /** Order within its cluster. */
    position: integer('place'),
    /** The vault the cluster's lock names for it. */
    withdrawalAddress: bytes('withdrawal_address'),
    /** The vault PUBLIC_KEYS_FILE names for it. */
    listedVault: bytes('listed_vault'),
    /** The vault this key is reserved for: one, or none. */
    vault: bytes('vault'),
    reservedAt: time('reserved_at'),
    /** When that vault last asked for it. */
    vaultAskedAt: time('vault_asked_at'),
    /** Whether partial signatures of a deposit to that vault were there that nobody had verified, and are void. */
    isHeld: boolean('is_held').notNull().default(false),
    /** The index the chain gave it, once a finalized state has it. */
    beaconIndex: id64('beacon_index'),
    /** The vault of its withdrawal credentials on chain; null where they name no address. */
    beaconVault: bytes('beacon_vault'),
    registeredAt: time('registered_at'),
    /** When it was first seen to have left, or to be leaving. */
    exitedAt: time('exited_at'),
    /** The oracle set its shares on chain were made for; outdated while that is not the current one. */
    oracleSetId: id64('oracle_set_id').references(() => oracleSets.id),
    createdAt: time('created_at').notNull().defaultNow(),
  },
  (table) => [
    check('validators_public_key_length', sql`octet_length(${table.publicKey}) = 48`),
    check('validators_withdrawal_address_length', sql`octet_length(${table.withdrawalAddress}) = 20`),
    check('validators_listed_vault_length', sql`octet_length(${table.listedVault}) = 20`),
    check('validators_vault_length', sql`octet_length(${table.vault}) = 20`),
    check(
      'validators_reserved_whole',
      sql`num_nulls(${table.vault}, ${table.reservedAt}, ${table.vaultAskedAt}) in (0, 3)`,
    ),
    check('validators_beacon_vault_length', sql`octet_length(${table.beaconVault}) = 20`),
    check('validators_registered_whole', sql`num_nulls(${table.beaconIndex}, ${table.registeredAt}) in (0, 2)`),
    index('validators_registered')
      .on(table.beaconVault, table.beaconIndex)
      .where(sql`${table.registeredAt} is not null`),
    index('validators_unregistered').on(table.id).where(sql`${table.registeredAt} is null`),
    index('validators_cluster').on(table.clusterId, table.position),
    index('validators_vault').on(table.vault),
  ],
)

/** The public key share of one validator at one share index, from a source the relayer trusts. */
export const keyShares = pgTable(
  'key_shares',
  {
    validatorId: id64('validator_id')
      .notNull()
      .references(() => validators.id),
    shareIndex: id64('share_index').notNull(),
    publicKeyShare: bytes('public_key_share').notNull(),
    source: text('source', { enum: ['lock', 'ssv'] }).notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.validatorId, table.shareIndex] }),
    check('key_shares_public_key_share_length', sql`octet_length(${table.publicKeyShare}) = 48`),
    check('key_shares_share_index_positive', sql`${table.shareIndex} >= 1`),
  ],
)

/**
 * The secp256k1 key in the ENR of each node of an imported cluster lock: what a node proves with that it is this one. The same key may
 * stand in several locks.
 */
export const nodeKeys = pgTable(
  'node_keys',
  {
    clusterId: id64('cluster_id')
      .notNull()
      .references(() => clusters.id),
    shareIndex: id64('share_index').notNull(),
    /** Compressed. */
    publicKey: bytes('public_key').notNull(),
    /** Whether the lock's hash was recomputed from its contents, which it is from v1.5 on: only then does a pin vouch for this key. */
    isHashKnown: boolean('is_hash_known').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.clusterId, table.shareIndex] }),
    check('node_keys_public_key_length', sql`octet_length(${table.publicKey}) = 33`),
    check('node_keys_share_index_positive', sql`${table.shareIndex} >= 1`),
  ],
)

/** The RSA key of SSV operators, as their `OperatorAdded` has it: of those that hold shares of validators that are followed on the chain. */
export const operatorKeys = pgTable('operator_keys', {
  operatorId: id64('operator_id').primaryKey(),
  /** SPKI, DER. */
  publicKey: bytes('public_key').notNull(),
})

/**
 * What nodes and oracles have signed requests with by their keys: each nonce is good once. Kept as long as a request's time may be off.
 * The view `oracle_nonces` shows those of oracles to processes of version 0.1, which write through it.
 */
export const requestNonces = pgTable(
  'request_nonces',
  {
    /** Of an Obol node its key (33 bytes), of an SSV operator the SHA-256 of its key (32), of an oracle its address (20). */
    signer: bytes('signer').notNull(),
    nonce: bytes('nonce').notNull(),
    seenAt: time('seen_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.signer, table.nonce] }),
    index('request_nonces_seen').on(table.seenAt),
    check('request_nonces_signer_length', sql`octet_length(${table.signer}) in (20, 32, 33)`),
    check('request_nonces_nonce_length', sql`octet_length(${table.nonce}) between 16 and 32`),
  ],
)

/**
 * Every node's public key share as one node says they are: a hint for the search of a full signature, never a reason to refuse. Of
 * each share index that posts, the last it said: 56 bytes a node, share index (8, big-endian) and public key share (48).
 */
export const keyShareHints = pgTable(
  'key_share_hints',
  {
    validatorId: id64('validator_id')
      .notNull()
      .references(() => validators.id),
    shareIndex: id64('share_index').notNull(),
    shares: bytes('shares').notNull(),
    seenAt: time('seen_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.validatorId, table.shareIndex] }),
    check('key_share_hints_length', sql`octet_length(${table.shares}) % 56 = 0`),
  ],
)

/**
 * The vault a validator is bound to for good, since a verified signature of a deposit to it exists: such a signature never expires.
 * What nobody has verified binds nothing: anybody can make a point. Only an administrator's command removes a row.
 */
export const depositBindings = pgTable(
  'deposit_bindings',
  {
    validatorId: id64('validator_id')
      .primaryKey()
      .references(() => validators.id),
    vault: bytes('vault').notNull(),
    boundAt: time('bound_at').notNull().defaultNow(),
  },
  (table) => [check('deposit_bindings_vault_length', sql`octet_length(${table.vault}) = 20`)],
)

/**
 * The deposits that cluster locks carry whole, those that a vault can ask for: nodes need not sign them. Verified when their lock is
 * imported, and again under the signing root of the message they are used for. They never expire, so no row is ever removed.
 */
export const lockDeposits = pgTable(
  'lock_deposits',
  {
    validatorId: id64('validator_id')
      .notNull()
      .references(() => validators.id),
    vault: bytes('vault').notNull(),
    validatorType: text('validator_type', { enum: ['0x01', '0x02'] }).notNull(),
    amountGwei: id64('amount_gwei').notNull(),
    /** Not sealed: everybody who has the lock has it. */
    signature: bytes('signature').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.validatorId, table.vault, table.validatorType, table.amountGwei] }),
    check('lock_deposits_vault_length', sql`octet_length(${table.vault}) = 20`),
    check('lock_deposits_amount_positive', sql`${table.amountGwei} > 0`),
    check('lock_deposits_signature_length', sql`octet_length(${table.signature}) = 96`),
  ],
)

/**
 * One thing to be signed: the exit of one validator at one validator index, or its deposit to one vault. `collecting → ready`, or
 * `superseded` when what it says changed, or `expired` when nobody asked for it any more, or `erased` when its validator is registered
 * and EXIT_RETENTION says so; at most one live message of a kind for a validator.
 */
export const messages = pgTable(
  'messages',
  {
    id: bigserial('id', { mode: 'number' }).primaryKey(),
    validatorId: id64('validator_id')
      .notNull()
      .references(() => validators.id),
    kind: text('kind', { enum: ['exit', 'deposit'] }).notNull(),
    /** Of an exit. */
    validatorIndex: id64('validator_index'),
    epoch: id64('epoch'),
    /** Of a deposit: the withdrawal credentials follow from vault and type. */
    vault: bytes('vault'),
    amountGwei: id64('amount_gwei'),
    validatorType: text('validator_type', { enum: ['0x01', '0x02'] }),
    signingRoot: bytes('signing_root').notNull(),
    threshold: integer('threshold').notNull(),
    state: text('state', { enum: ['collecting', 'ready', 'superseded', 'expired', 'erased'] }).notNull(),
    /** Who asks for it: the vault of the key or of the token, else whoever may for all; null where no tokens are set. See `exits/assign.ts`. */
    requester: text('requester'),
    createdAt: time('created_at').notNull().defaultNow(),
    requestedAt: time('requested_at').notNull().defaultNow(),
    /** When a job was last asked to finish it; a hint that keeps two workers from the same work. */
    queuedAt: time('queued_at'),
    /** Attempts that found no signature among the candidates; the next one waits longer. */
    failedAttempts: integer('failed_attempts').notNull().default(0),
    revision: id64('revision').notNull().default(0),
    /** The full signature, sealed: of an exit under its own key, see `messageKeys`. */
    signature: bytes('signature'),
    readyAt: time('ready_at'),
  },
  (table) => [
    uniqueIndex('messages_one_live')
      .on(table.validatorId, table.kind)
      .where(sql`${table.state} in ('collecting', 'ready')`),
    index('messages_validator').on(table.validatorId),
    index('messages_revision').on(table.revision, table.id),
    // For what is not ready, in the order in which it was asked for.
    index('messages_collecting').on(table.kind, table.id).where(sql`${table.state} = 'collecting'`),
    index('messages_live').on(table.id, table.kind, table.state).where(sql`${table.state} in ('collecting', 'ready')`),
    index('messages_idle').on(table.requestedAt).where(sql`${table.state} in ('collecting', 'ready')`),
    index('messages_queued')
      .on(table.queuedAt)
      .where(sql`${table.queuedAt} is not null and ${table.state} in ('collecting', 'ready')`),
    check(
      'messages_exit_whole',
      sql`${table.kind} <> 'exit' or num_nulls(${table.validatorIndex}, ${table.epoch}) = 0`,
    ),
    check(
      'messages_deposit_whole',
      sql`${table.kind} <> 'deposit' or (num_nulls(${table.vault}, ${table.amountGwei}, ${table.validatorType}) = 0 and octet_length(${table.vault}) = 20 and ${table.amountGwei} > 0)`,
    ),
    index('messages_superseded').on(table.requestedAt).where(sql`${table.state} = 'superseded'`),
    check('messages_signing_root_length', sql`octet_length(${table.signingRoot}) = 32`),
    check('messages_ready_has_signature', sql`${table.state} <> 'ready' or ${table.signature} is not null`),
  ],
)

/**
 * The random key that seals an exit's full and partial signatures, itself sealed. Erasing an exit is deleting its row: what rows,
 * logs and copies elsewhere still hold is then unreadable wherever this table is not.
 */
export const messageKeys = pgTable('message_keys', {
  messageId: id64('message_id')
    .primaryKey()
    .references(() => messages.id, { onDelete: 'cascade' }),
  sealed: bytes('sealed').notNull(),
})

/**
 * One candidate for one share index's partial signature of one message. `digest` is keyed, so that it tells nothing of the
 * signature; `sealed` is the signature itself, and gone once the candidate is rejected.
 */
export const partialSignatures = pgTable(
  'partial_signatures',
  {
    messageId: id64('message_id')
      .notNull()
      .references(() => messages.id, { onDelete: 'cascade' }),
    shareIndex: id64('share_index').notNull(),
    digest: bytes('digest').notNull(),
    sealed: bytes('sealed'),
    state: text('state', { enum: ['unverified', 'verified', 'rejected'] }).notNull(),
    seenAt: time('seen_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.messageId, table.shareIndex, table.digest] }),
    uniqueIndex('partial_signatures_one_verified')
      .on(table.messageId, table.shareIndex)
      .where(sql`${table.state} = 'verified'`),
    // For those that no right one has replaced.
    index('partial_signatures_rejected').on(table.messageId, table.shareIndex).where(sql`${table.state} = 'rejected'`),
    index('partial_signatures_unverified').on(table.seenAt).where(sql`${table.state} = 'unverified'`),
    check('partial_signatures_share_index_positive', sql`${table.shareIndex} >= 1`),
    check('partial_signatures_rejected_is_gone', sql`(${table.state} = 'rejected') = (${table.sealed} is null)`),
  ],
)

/**
 * One oracle config as the Keeper announced it: its CID, the threshold and the oracles' public keys in order. At most one is current.
 * A config that comes back is announced anew and a row of its own: shares made before are never handed out again.
 */
export const oracleSets = pgTable(
  'oracle_sets',
  {
    id: bigserial('id', { mode: 'number' }).primaryKey(),
    cid: text('cid').notNull(),
    threshold: integer('threshold').notNull(),
    /** The oracles' secp256k1 keys, 65 bytes each, concatenated in order. */
    publicKeys: bytes('public_keys').notNull(),
    config: json('config').notNull(),
    blockNumber: id64('block_number').notNull(),
    /** Time of that block. */
    announcedAt: time('announced_at').notNull(),
    isCurrent: boolean('is_current').notNull().default(false),
    adoptedAt: time('adopted_at').notNull().defaultNow(),
  },
  (table) => [
    uniqueIndex('oracle_sets_one_current').on(table.isCurrent).where(sql`${table.isCurrent}`),
    check('oracle_sets_public_keys_length', sql`octet_length(${table.publicKeys}) % 65 = 0`),
  ],
)

/**
 * The oracle shares of one exit under one oracle set: one row holds the whole set, so a set is there whole or not at all, and
 * the key makes sure it is made once. Place x (from 1) is the x-th slice of 48 and of 193 bytes.
 */
export const oracleShares = pgTable(
  'oracle_shares',
  {
    messageId: id64('message_id')
      .notNull()
      .references(() => messages.id, { onDelete: 'cascade' }),
    oracleSetId: id64('oracle_set_id')
      .notNull()
      .references(() => oracleSets.id),
    publicKeyShares: bytes('public_key_shares').notNull(),
    ciphertexts: bytes('ciphertexts').notNull(),
    /** SHA-256 over what the set is, as `shareReceipt` makes it. */
    receipt: bytes('receipt').notNull(),
    /** Orders the sets as they became visible: the cursor of who follows them. */
    revision: id64('revision').notNull(),
    createdAt: time('created_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.messageId, table.oracleSetId] }),
    index('oracle_shares_revision').on(table.oracleSetId, table.revision, table.messageId),
    check('oracle_shares_receipt_length', sql`octet_length(${table.receipt}) = 32`),
    check(
      'oracle_shares_lengths',
      sql`octet_length(${table.publicKeyShares}) % 48 = 0 and octet_length(${table.ciphertexts}) = octet_length(${table.publicKeyShares}) / 48 * 193`,
    ),
  ],
)

/** An exit encrypted to the owner of its vault, as OWNER_PUBLIC_KEYS names it. */
export const ownerCopies = pgTable(
  'owner_copies',
  {
    messageId: id64('message_id')
      .primaryKey()
      .references(() => messages.id, { onDelete: 'cascade' }),
    vault: bytes('vault').notNull(),
    /** 65 bytes. */
    ownerPublicKey: bytes('owner_public_key').notNull(),
    ciphertext: bytes('ciphertext').notNull(),
    createdAt: time('created_at').notNull().defaultNow(),
  },
  (table) => [
    index('owner_copies_vault').on(table.vault, table.messageId),
    check('owner_copies_vault_length', sql`octet_length(${table.vault}) = 20`),
    check('owner_copies_owner_public_key_length', sql`octet_length(${table.ownerPublicKey}) = 65`),
  ],
)

/**
 * One update of a vault's exit signatures for a new oracle set (docs/protocol.md#16-rotation): the shares it hands in stand in
 * `oracleShares` of its messages and its set. `open → done` once the Keeper's event is final, or `void` when set or nonce have moved on
 * without it.
 */
export const rotations = pgTable(
  'rotations',
  {
    id: bigserial('id', { mode: 'number' }).primaryKey(),
    vault: bytes('vault').notNull(),
    oracleSetId: id64('oracle_set_id')
      .notNull()
      .references(() => oracleSets.id),
    /** `Keeper.exitSignaturesNonces(vault)` that the oracles sign. */
    nonce: id64('nonce').notNull(),
    state: text('state', { enum: ['open', 'done', 'void'] }).notNull(),
    /** What the oracles have approved, once enough have. */
    ipfsHash: text('ipfs_hash'),
    /** The newest transaction of our own wallet, whole, written before it is sent. */
    transactionHash: bytes('transaction_hash'),
    transaction: bytes('transaction'),
    /** Unix seconds after which the Keeper does not take that transaction any more. */
    deadline: id64('deadline'),
    createdAt: time('created_at').notNull().defaultNow(),
    endedAt: time('ended_at'),
  },
  (table) => [
    uniqueIndex('rotations_one_open').on(table.vault).where(sql`${table.state} = 'open'`),
    check('rotations_vault_length', sql`octet_length(${table.vault}) = 20`),
    check('rotations_transaction_hash_length', sql`octet_length(${table.transactionHash}) = 32`),
    check(
      'rotations_transaction_whole',
      sql`num_nulls(${table.transactionHash}, ${table.transaction}, ${table.deadline}) in (0, 3)`,
    ),
  ],
)

/** The exits of a rotation, in the order in which they are handed in. */
export const rotationMessages = pgTable(
  'rotation_messages',
  {
    rotationId: id64('rotation_id')
      .notNull()
      .references(() => rotations.id, { onDelete: 'cascade' }),
    position: integer('place').notNull(),
    messageId: id64('message_id')
      .notNull()
      .references(() => messages.id, { onDelete: 'cascade' }),
  },
  (table) => [
    primaryKey({ columns: [table.rotationId, table.position] }),
    uniqueIndex('rotation_messages_once').on(table.rotationId, table.messageId),
  ],
)

/** A public key with a validly signed deposit in a finalized block: the block of its first one. */
export const registryValidators = pgTable(
  'registry_validators',
  {
    publicKey: bytes('public_key').primaryKey(),
    blockNumber: id64('block_number').notNull(),
  },
  (table) => [check('registry_validators_public_key_length', sql`octet_length(${table.publicKey}) = 48`)],
)

/**
 * The block of the first validly signed deposit of a validator of ours, found where no deposit registry is followed: what is to be
 * erased must have one.
 */
export const depositBlocks = pgTable('deposit_blocks', {
  validatorId: id64('validator_id')
    .primaryKey()
    .references(() => validators.id),
  blockNumber: id64('block_number').notNull(),
})

/**
 * Since when everything that erasing a validator's exits wants has held, and what it was that held: a clock that begins anew when any of
 * it is another, and is gone when it is contradicted.
 */
export const erasureClocks = pgTable(
  'erasure_clocks',
  {
    validatorId: id64('validator_id')
      .primaryKey()
      .references(() => validators.id),
    beaconIndex: id64('beacon_index').notNull(),
    /** Those of the finalized state. */
    withdrawalCredentials: bytes('withdrawal_credentials').notNull(),
    depositBlock: id64('deposit_block').notNull(),
    /** The oracle set of its shares on chain. */
    oracleSetId: id64('oracle_set_id').references(() => oracleSets.id),
    heldSince: time('held_since').notNull().defaultNow(),
  },
  (table) => [
    check('erasure_clocks_withdrawal_credentials_length', sql`octet_length(${table.withdrawalCredentials}) = 32`),
  ],
)

/**
 * Every signature of the validators-manager key, written before it is handed out. A trigger refuses changes, and deletes within a year. The
 * same validators signed again for the same requester, in whatever order, are one record and stand here once a day (UTC).
 */
export const managerSignatures = pgTable(
  'manager_signatures',
  {
    id: bigserial('id', { mode: 'number' }).primaryKey(),
    action: text('action', { enum: ['register', 'fund', 'withdraw', 'consolidate'] }).notNull(),
    vault: bytes('vault').notNull(),
    /** Name of the token, or `anybody` where no tokens are set. */
    requester: text('requester').notNull(),
    /** The registry root, or the vault's nonce. */
    registryRoot: bytes('registry_root').notNull(),
    /** What was signed: the entries as the vault gets them, in the order of their bytes. */
    validators: bytes('validators').notNull(),
    validatorCount: integer('validator_count').notNull(),
    /** What it moves, in Gwei, as the daily limit counts it. */
    amountGwei: numeric('amount_gwei', { precision: 30, scale: 0 }).notNull(),
    /** Of `validators`, in that order. */
    digest: bytes('digest').notNull(),
    signedAt: time('signed_at').notNull().defaultNow(),
  },
  (table) => [
    uniqueIndex('manager_signatures_once').on(
      table.digest,
      table.requester,
      sql`(timezone('UTC', ${table.signedAt})::date)`,
    ),
    index('manager_signatures_vault').on(table.vault, table.signedAt),
    index('manager_signatures_signed').on(table.signedAt),
    check('manager_signatures_digest_length', sql`octet_length(${table.digest}) = 32`),
  ],
)

/**
 * Validators of which something has changed that is counted: triggers write them, in the transaction of the change. Whoever counts takes
 * them, and looks at them alone. There is no rule of uniqueness: nobody waits for anybody here.
 */
export const validatorChanges = pgTable(
  'validator_changes',
  {
    id: bigserial('id', { mode: 'number' }).primaryKey(),
    validatorId: id64('validator_id').notNull(),
  },
  (table) => [index('validator_changes_validator').on(table.validatorId)],
)

/**
 * How many validators are alike in everything that is counted, without one that is not: `validators` of them, as of the changes that have
 * been taken. The columns before are what they have in common.
 */
export const tallies = pgTable(
  'tallies',
  {
    /** A hash of all that follows, without the number. */
    id: bytes('id').primaryKey(),
    clusterId: id64('cluster_id'),
    /** The vault of their lock, or that has them reserved. */
    claimedBy: bytes('claimed_by'),
    /** The vault they are shown under. */
    vault: bytes('vault'),
    beaconVault: bytes('beacon_vault'),
    isRegistered: boolean('is_registered').notNull(),
    hasExited: boolean('has_exited').notNull(),
    oracleSetId: id64('oracle_set_id'),
    /** Registered, not exited, and their newest shares were made for another index than they have. */
    isIndexWrong: boolean('is_index_wrong').notNull(),
    /** Whether keys of a cluster may still be registered: `none` where two vaults have a claim to one; and for which vault, null for any. */
    key: text('key', { enum: ['none', 'used', 'free', 'reserved'] }).notNull(),
    keyVault: bytes('key_vault'),
    exitState: text('exit_state', { enum: ['collecting', 'ready'] }),
    depositState: text('deposit_state', { enum: ['collecting', 'ready'] }),
    /** Whether a ready exit is split for every new oracle set, and the newest one it was split for. */
    isSplitAnew: boolean('is_split_anew').notNull(),
    splitSetId: id64('split_set_id'),
    /** Share indexes that have sent nothing that may count of an exit and of a deposit that are collected. */
    exitMissing: id64('exit_missing').array(),
    depositMissing: id64('deposit_missing').array(),
    validators: id64('validators').notNull(),
  },
  (table) => [check('tallies_validators_not_negative', sql`${table.validators} >= 0`)],
)

/** As what each validator is counted. What is no count stands here. */
export const validatorTallies = pgTable(
  'validator_tallies',
  {
    validatorId: id64('validator_id').primaryKey(),
    tallyId: bytes('tally_id').notNull(),
    /** When its exit and its deposit that are collected were asked for. */
    exitSince: time('exit_since'),
    depositSince: time('deposit_since'),
    /** Whether the chain is asked for it: oracles have shares of it, and it is not registered. */
    isAwaited: boolean('is_awaited').notNull(),
  },
  (table) => [
    index('validator_tallies_exits').on(table.tallyId, table.exitSince).where(sql`${table.exitSince} is not null`),
    index('validator_tallies_deposits')
      .on(table.tallyId, table.depositSince)
      .where(sql`${table.depositSince} is not null`),
    index('validator_tallies_awaited').on(table.validatorId).where(sql`${table.isAwaited}`),
  ],
)

/** How far a scan of the chain has come. */
export const checkpoints = pgTable('checkpoints', {
  name: text('name').primaryKey(),
  value: json('value').notNull(),
  updatedAt: time('updated_at').notNull().defaultNow(),
})

/**
 * The relayer processes of this database, one row for each start. All times are the database's: the clocks of their hosts may differ. A
 * process that ends in order says so; of one that was killed the beats stop.
 */
export const processes = pgTable('processes', {
  id: text('id').primaryKey(),
  role: text('role', { enum: ['all', 'api', 'worker'] }).notNull(),
  version: text('version').notNull(),
  startedAt: time('started_at').notNull().defaultNow(),
  beatAt: time('beat_at').notNull().defaultNow(),
  stoppedAt: time('stopped_at'),
})

/**
 * When a node was last there, and what it said of itself: one row for each token and share index. Share index 0 is a token that is not
 * bound to any, where a request names none. All times are the database's.
 */
export const nodesSeen = pgTable(
  'nodes_seen',
  {
    /** Or `anybody`, where no tokens are set. */
    tokenName: text('token_name').notNull(),
    shareIndex: id64('share_index').notNull(),
    /** The newest of what follows. */
    seenAt: time('seen_at').notNull(),
    listedAt: time('listed_at'),
    postedAt: time('posted_at'),
    refusedAt: time('refused_at'),
    refusalCode: text('refusal_code'),
    /** As the newest request names them; null where it names none. */
    software: text('software'),
    version: text('version'),
    /** How far its clock is ahead, by its last list; null where that says no time. */
    clockDifferenceSeconds: integer('clock_difference_seconds'),
    /** When it was there again after it had been away, or there for the first time. */
    onlineSince: time('online_since'),
    /** When the last of its requests that waited was lost, and none of it waited any more: it hung up, or its host did. */
    goneAt: time('gone_at'),
  },
  (table) => [
    primaryKey({ columns: [table.tokenName, table.shareIndex] }),
    check('nodes_seen_share_index_not_negative', sql`${table.shareIndex} >= 0`),
    check('nodes_seen_refusal_whole', sql`num_nulls(${table.refusedAt}, ${table.refusalCode}) in (0, 2)`),
  ],
)

/** What the status page shows of everything, as workers last counted it: written when it has changed, and then whole. */
export const statusSnapshots = pgTable(
  'status_snapshots',
  {
    id: integer('id').primaryKey(),
    content: json('content').notNull(),
    /** Of the content: who has read it under this number need not read it again. */
    revision: id64('revision').notNull().default(1),
    writtenAt: time('written_at').notNull().defaultNow(),
  },
  (table) => [check('status_snapshots_one', sql`${table.id} = 1`)],
)

/**
 * How many partial signatures of each share index were judged, by all processes together: metrics, which nothing else goes by. Each process
 * adds from time to time what it has judged; what one that is killed has not added is not counted.
 */
export const shareCounts = pgTable(
  'share_counts',
  {
    shareIndex: id64('share_index').primaryKey(),
    verified: id64('verified').notNull(),
    rejected: id64('rejected').notNull(),
  },
  (table) => [check('share_counts_share_index_positive', sql`${table.shareIndex} >= 1`)],
)

/**
 * The one check value of the sealing key: a random key for digests, sealed. That it opens at boot proves that the key fits.
 */
export const sealingChecks = pgTable(
  'sealing_checks',
  {
    id: integer('id').primaryKey(),
    sealed: bytes('sealed').notNull(),
  },
  (table) => [check('sealing_checks_one', sql`${table.id} = 1`)],
)
