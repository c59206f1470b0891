/** What services may ask for. Each takes `Pick<Context, …>`: its parameter's type is the list of what it needs. */

import type { ChainValidator } from '@dvt-relayer/chain/consensus.ts'
import type { ExecutionClient } from '@dvt-relayer/chain/execution.ts'
import type { IpfsClient } from '@dvt-relayer/chain/ipfs.ts'
import type { ManagerWallet } from '@dvt-relayer/chain/validators-manager.ts'
import type { Logger } from '@dvt-relayer/common/logger.ts'
import type { Sealer } from '@dvt-relayer/crypto/sealing.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import type { JobQueue } from '@dvt-relayer/queue/queue.ts'
import type { RelayerConfig } from './config.ts'
import type { CryptoPool } from './crypto-pool.ts'
import type { Events } from './events.ts'

/** What the beacon chain says of validator keys and indexes, all at one head. */
export interface ValidatorRegistry {
  /** The index the next new validator will get. */
  nextIndex(): Promise<number>
  /** Which of these keys the chain knows, or will know once its pending deposits are processed. */
  knownKeys(publicKeys: readonly Uint8Array[]): Promise<boolean[]>
  /** The validators of these keys in the head state, by lower-case hex. */
  findValidators(publicKeys: readonly Uint8Array[]): Promise<Map<string, ChainValidator>>
}
  /** The root of the newest finalized state. */
  finalizedRoot(): Promise<string>
  /** The validators of these keys in the finalized state of this root, by lower-case hex. */
  findFinalized(publicKeys: readonly Uint8Array[], root: string): Promise<Map<string, ChainValidator>>

/** What the Keeper says of an oracle config: its CID, the block of the event and that block's time (Unix seconds). */
export interface AnnouncedConfig {
  cid: string
  blockNumber: number
  announcedAt: number
}

/** Where oracle configs come from: the newest CID on chain, and its content. */
export interface OracleSetSource {
  /** The newest `ConfigUpdated` from block `from` on (from the Keeper's first when left out), and where the next look begins. */
  newest(from: number | undefined): Promise<{ config: AnnouncedConfig | undefined; nextBlock: number }>
  /** The checked config behind a CID. */
  fetch(cid: string): Promise<{ threshold: number; publicKeys: readonly Uint8Array[]; config: unknown }>
}

/** Sealing of what is stored, and the keyed digests that tell two signatures apart without telling what they are. */
export interface Vault {
  readonly sealer: Sealer
  /** Keyed digest of a partial signature of one share index. */
  digest(shareIndex: number, signature: Uint8Array): Uint8Array
}

export interface Context {
  readonly config: RelayerConfig
  readonly db: Database
  readonly queue: Pick<JobQueue, 'add' | 'counts'>
  readonly chain: {
    readonly registry: ValidatorRegistry
    readonly oracleSets: OracleSetSource
    readonly execution: ExecutionClient
    readonly ipfs: IpfsClient
  }
  readonly crypto: CryptoPool
  readonly vault: Vault
  /** The validators manager; undefined where VALIDATORS_MANAGER_KEY_FILE is not set. */
  readonly wallet: ManagerWallet | undefined
  readonly events: Events
  readonly logger: Logger
}
