/** What services may ask for. Each takes `Pick<Context, …>`: its parameter's type is the list of what it needs. */

import type { ChainValidator, ConsensusNode } from '@dvt-relayer/chain/consensus/consensus.ts'
import type { ExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import type { IpfsClient } from '@dvt-relayer/chain/ipfs/ipfs.ts'
import type { ManagerWallet } from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import type { MessageKind } from '@dvt-relayer/db/queries/messages/messages.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import type { JobQueue } from '@dvt-relayer/queue/queue.ts'
import type { RelayerConfig } from './config.ts'
import type { CryptoPool } from './crypto-workers/pool.ts'
import type { Events } from './events.ts'

/** What the beacon chain says of validator keys and indexes, all at one head. */
export interface ValidatorRegistry {
  /** The index the next new validator will get. */
  nextIndex(): Promise<number>
  /** Which of these keys the chain knows, or will know once its pending deposits are processed. */
  knownKeys(publicKeys: readonly Uint8Array[]): Promise<boolean[]>
  /** The validators of these keys in the head state, by lower-case hex. */
  findValidators(publicKeys: readonly Uint8Array[]): Promise<Map<string, ChainValidator>>
  /** The withdrawal credentials that those of these keys will have whose rightly signed deposit is pending, by lower-case hex. */
  findPending(publicKeys: readonly Uint8Array[]): Promise<Map<string, string>>
  /** The validators at these indexes in the head state, by index. */
  findByIndex(indexes: readonly number[]): Promise<Map<number, ChainValidator>>
  /** The root of the newest finalized state. */
  finalizedRoot(): Promise<string>
  /** The validators of these keys in the finalized state of this root, by lower-case hex. */
  findFinalized(publicKeys: readonly Uint8Array[], root: string): Promise<Map<string, ChainValidator>>
}

/** What the Keeper says of an oracle config: its CID, the block of the event and that block's time (Unix seconds). */
export interface AnnouncedConfig {
  cid: string
  blockNumber: number
  announcedAt: number
}

/** Where oracle configs come from: the newest CID on chain, and its content. */
export interface OracleSetSource {
  /** Names the newest block, as one node has it: where that is the same before and after a look, nothing else was looked at. */
  head(): Promise<string>
  /**
   * The newest `ConfigUpdated` from block `from` on (from the Keeper's first when left out) or after `known`, and where the next look begins.
   * `doubt`: why there may be one that no node shows, in words.
   */
  newest(
    from: number | undefined,
    known?: Pick<AnnouncedConfig, 'blockNumber'>,
  ): Promise<{ config: AnnouncedConfig | undefined; nextBlock: number; doubt?: string | undefined }>
  /** Which execution node denies an announcement, in words; nothing where none does, or only one is asked anyway. */
  findDenial(config: Pick<AnnouncedConfig, 'cid' | 'blockNumber'>): Promise<string | undefined>
  /** The checked config behind a CID. */
  fetch(cid: string): Promise<{ threshold: number; publicKeys: readonly Uint8Array[]; config: unknown }>
}

/** A message whose signatures are sealed. */
export interface SealedMessage {
  id: number
  kind: MessageKind
}

/** Opens the signatures of some messages. @throws {SealingError} SEALED_UNREADABLE */
export interface SignatureOpener {
  signature(message: SealedMessage, sealed: Uint8Array): Uint8Array
  partial(message: SealedMessage, shareIndex: number, sealed: Uint8Array): Uint8Array
}

/** Seals the signatures of some messages; undefined where an exit takes none any more and nothing of it may be stored. */
export interface SignatureSealer {
  signature(message: SealedMessage, signature: Uint8Array): Uint8Array | undefined
  partial(message: SealedMessage, shareIndex: number, signature: Uint8Array): Uint8Array | undefined
}

/** Sealing of signatures, and the keyed digests that tell two of them apart without telling what they are. */
export interface Sealing {
  /** Keyed digest of a partial signature of one share index. */
  digest(shareIndex: number, signature: Uint8Array): Uint8Array
  /** To open what these exits hold (deposits may be left out). Asked for before the values are read: what is erased in between is not found then. */
  openerFor(db: Sql, messageIds: readonly number[]): Promise<SignatureOpener>
  /** To seal for these messages, whose rows the transaction has locked. Live exits that have no key get one. */
  sealerFor(tx: Sql, messageIds: readonly number[]): Promise<SignatureSealer>
}

/** How long a request waits for what it needs of nodes and workers, in milliseconds, unless told. Operators give up after 10 s. */
export const PATIENCE_MS = 5000

export interface Context {
  readonly config: RelayerConfig
  readonly db: Database
  readonly queue: Pick<JobQueue, 'add' | 'counts'>
  readonly chain: {
    readonly registry: ValidatorRegistry
    /** Every configured consensus node by itself, for what must be asked of each. */
    readonly consensusNodes: readonly ConsensusNode[]
    readonly oracleSets: OracleSetSource
    readonly execution: ExecutionClient
    readonly ipfs: IpfsClient
  }
  readonly crypto: CryptoPool
  readonly sealing: Sealing
  /** The validators manager; undefined where VALIDATORS_MANAGER_KEY_FILE is not set. */
  readonly wallet: ManagerWallet | undefined
  readonly events: Events
  /**
   * Called when a transaction that announced messages has committed: what this process keeps ready of them is looked at again at once,
   * so that who caused the change sees it before any notification comes round.
   */
  readonly announced: () => void
  /** How long a request waits for what it needs of nodes and workers, in milliseconds. */
  readonly patienceMs: number
  readonly logger: Logger
}
