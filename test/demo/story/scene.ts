/** Who and what the story is about, whichever generation of the protocol it is told in. */

import type { Network } from '@dvt-relayer/chain/networks.ts'
import type { Beacon } from '../../support/chain/beacon.ts'
import type { TestOracle } from '../../support/chain/oracles.ts'
import type { MadeCluster } from '../../support/keys/make-cluster.ts'
import type { EncryptedShares } from '../actors/operator.ts'
import type { Home } from '../home.ts'
import type { Children } from '../processes.ts'
import type { Secret } from '../secrets/secrets.ts'
import type { Stage } from './stage.ts'
import type { Story } from './story.ts'

export const NODES = 4
export const THRESHOLD = 3
export const VALIDATORS = 10
/** One half is registered with a node down, the other through more trouble. */
export const HALF = VALIDATORS / 2
/** Validators left to ask for, with `keep`. */
export const SPARE = 2
/** The node that is down at first. */
export const LATE = 4
/** The node that stops answering in the second half. */
export const STUCK = 2
/** The node in whose name another process speaks in the second half. */
export const LIAR = 3
export const ORACLES = 11
export const ORACLE_THRESHOLD = 7

/** What is around relayer and sidecars. */
export interface Chain {
  readonly network: Network
  /** For the story. */
  readonly description: string
  readonly beacon: Beacon
  readonly oracles: readonly TestOracle[]
  /** 20 bytes: where the cluster's validators pay out to. */
  readonly withdrawalAddress: Uint8Array
  /** The settings that tell of it. */
  readonly settings: Readonly<Record<'relayer' | 'sidecar', Readonly<Record<string, string>>>>
}

/** A validator that the operator has the oracle shares of and has registered: the index is the chain's word. */
export interface Registered {
  publicKey: string
  validatorIndex: number
  shares: EncryptedShares
  /** Of the shares, as the operator got it. */
  receipt: string | null | undefined
}

/** A message that nodes were asked to sign. */
export interface Message {
  kind: 'exit' | 'deposit'
  /** Of the validator, lower-case hex. */
  publicKey: string
  /** Its signing root. */
  root: Uint8Array
}

/** What differs between the generations of the protocol. */
export interface Generation {
  readonly number: 3 | 4
  readonly chain: Chain
  /** Where sidecars see what is to be signed. */
  readonly list: 'exits' | 'validators'
  /** What a node signs for one validator. */
  readonly kinds: readonly Message['kind'][]
  /** What the operator gets when all is ready, for the story. */
  readonly goods: string
  /**
   * The operator asks for this half until it gets all it needs.
   *
   * @returns what registers it on chain then
   */
  ask(scene: Scene, half: 0 | 1): Promise<() => Promise<Registered[]>>
  /** Everything that nodes were asked to sign so far. */
  readonly messages: readonly Message[]
  /** What else must not be printed. */
  secrets(): Promise<readonly Secret[]>
  /** Requests to try while everything runs. `spare` are keys that nobody has asked for yet. */
  hints(spare: readonly string[], registered: readonly Registered[]): { path: string; body?: object; remark?: string }[]
}

export interface Cast {
  home: Home
  children: Children
  story: Story
  signal: AbortSignal
  /** Starts the nodes of the generation that the story is told in. */
  startGeneration(): Promise<Generation>
  /** End with everything running, all nodes honest again, and some validators left to ask for. */
  keep: boolean
}

export interface Scene extends Cast {
  generation: Generation
  cluster: MadeCluster
  stage: Stage
}

/** The keys of one half, in the order of the cluster's lock. */
export const keysOf = (cluster: MadeCluster, half: 0 | 1): Uint8Array[] =>
  cluster.validators.slice(half * HALF, (half + 1) * HALF).map(({ publicKey }) => publicKey)
