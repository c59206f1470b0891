/** A relayer stand-in for the sidecar's tests: the existing relayers of both generations, ours with long polling, and hostile ones. */

import type { SignaturesRequest } from '@dvt-relayer/api/schemas.ts'
import {
  type HttpStandIn,
  type StandInAnswer,
  type StandInRequest,
  startHttpStandIn,
} from '../../support/chain/http-stand-in.ts'

/** A partial signature as it came. */
export interface Post {
  shareIndex: number
  publicKey: string
  signature: string
  validatorIndex: number | undefined
}

export interface StandInExit {
  public_key: string
  validator_index: number
  is_exit_signature_ready: boolean
  created_at_timestamp: number
  created_at_string: string
  share_indexes_ready: number[]
  share_indexes_unverified?: number[]
  share_indexes_rejected?: number[]
}

/** What a deposit is wanted for. */
export interface StandInDeposit {
  vault: string
  amount: number
  validator_type: string
}

export interface StandInValidator extends StandInDeposit {
  public_key: string
  validator_index: number
  is_signatures_ready: boolean
  created_at_timestamp: number
  created_at_string: string
  share_indexes_ready: number[]
  share_indexes_unverified?: number[]
  share_indexes_rejected?: number[]
}

/** An item of `POST /signatures` as it came, with what was listed for its validator then. */
export interface SignaturesPost {
  shareIndex: number
  publicKey: string
  exit: string
  deposit: string
  publicKeyShares: { share_index: number; public_key_share: string }[]
  listed: StandInValidator | undefined
}

export type ListName = 'exits' | 'validators'

export interface RelayerOptions {
  /** `existing` knows no revision and takes every post; `ours` has revisions and long polling. */
  generation: 'existing' | 'ours'
  /** What it knows of: ours both, the existing one `exits` (generation 3) unless said otherwise. */
  lists?: readonly ListName[]
  network?: string
  port?: number
}

export interface StandInRelayer extends HttpStandIn {
  readonly exits: Map<string, StandInExit>
  readonly validators: Map<string, StandInValidator>
  /** Exits that were posted alone. */
  readonly posts: Post[]
  /** Exits that were posted with their deposits. */
  readonly pairs: SignaturesPost[]
  /** What it knows of; may change while it runs. */
  readonly lists: Set<ListName>
  /** Sizes of the posts' batches. */
  readonly batches: number[]
  /** Requests with their query and headers. */
  readonly seen: StandInRequest[]
  /** What happens to a request instead of the usual; undefined for the usual. */
  hook: ((request: StandInRequest) => StandInAnswer | Promise<StandInAnswer | undefined> | undefined) | undefined
  network: string
  /** Whether a post makes its share index ready. */
  takes: boolean
  /** Lists an exit, or changes its index. */
  addExit(publicKey: string, validatorIndex: number, ready?: number[]): void
  /** Forgets an exit. */
  removeExit(publicKey: string): void
  /** Lists a validator, or changes it; its exit is listed too. Unless said otherwise it is 32 ETH, type 0x01, to `VAULT`. */
  addValidator(publicKey: string, validatorIndex: number, deposit?: Partial<StandInDeposit>, ready?: number[]): void
  /** Resolves when the condition holds; looked at before and after every request. */
  until(condition: () => boolean): Promise<void>
}

/** The withdrawal address in the locks of the cluster fixtures, checksummed as relayers answer it. */
export const VAULT = '0x8Ae5c1046158526Cf236f74D8FB88fabE2E94ACa'

/** Starts a relayer stand-in. */
export async function startStandInRelayer(options: RelayerOptions): Promise<StandInRelayer> {
  const exits = new Map<string, StandInExit>()
  const validators = new Map<string, StandInValidator>()
  const revisions = new Map<string, number>()
  const posts: Post[] = []
  const pairs: SignaturesPost[] = []
  const batches: number[] = []
  const seen: StandInRequest[] = []
  const conditions = new Set<() => void>()
  const sleepers = new Set<() => void>()
  const isOurs = options.generation === 'ours'
  let revision = 1

  function touch(publicKey: string): void {
    revision++
    revisions.set(publicKey, revision)
    for (const wake of [...sleepers]) wake()
  }

  /** Long polling. */
  async function waitForChange(after: number, seconds: number): Promise<void> {
    if (revision > after) return
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer)
        sleepers.delete(done)
        resolve()
      }
      const timer = setTimeout(done, seconds * 1000)
      sleepers.add(done)
    })
  }

  async function list(name: ListName, { query }: StandInRequest): Promise<StandInAnswer> {
    if (!relayer.lists.has(name)) {
      // Generation 3 has `POST /validators`, so its answer to a GET is another one.
      return name === 'validators'
        ? { status: 405, body: { detail: 'Method Not Allowed' } }
        : { status: 404, body: { detail: 'Not Found' } }
    }
    const all = () => [...(name === 'exits' ? exits : validators).values()]
    if (!isOurs) return { status: 200, body: { [name]: all() } }
    const after = query.get('after')
    if (after === null) return { status: 200, body: { [name]: all(), revision } }
    await waitForChange(Number(after), Number(query.get('wait') ?? 0))
    const changed = all().filter(({ public_key }) => (revisions.get(public_key) ?? 0) > Number(after))
    return { status: 200, body: { [name]: changed, revision } }
  }

  /** A share of an item is in. */
  function markReady(item: { public_key: string; share_indexes_ready: number[] } | undefined, index: number): void {
    if (item === undefined || !relayer.takes || item.share_indexes_ready.includes(index)) return
    item.share_indexes_ready.push(index)
    touch(item.public_key)
  }

  function take({ body }: StandInRequest): StandInAnswer {
    const { share_index, shares } = body as {
      share_index: number
      shares: { public_key: string; exit_signature: string }[]
    }
    batches.push(shares.length)
    for (const { public_key, exit_signature } of shares) {
      const exit = exits.get(public_key)
      posts.push({
        shareIndex: share_index,
        publicKey: public_key,
        signature: exit_signature,
        validatorIndex: exit?.validator_index,
      })
      markReady(exit, share_index)
    }
    return { status: 200, body: {} }
  }

  function takePairs({ body }: StandInRequest): StandInAnswer {
    const { share_index, shares } = body as SignaturesRequest
    batches.push(shares.length)
    for (const { public_key, exit_signature, deposit_signature, public_key_shares } of shares) {
      const validator = validators.get(public_key)
      pairs.push({
        shareIndex: share_index,
        publicKey: public_key,
        exit: exit_signature,
        deposit: deposit_signature,
        publicKeyShares: public_key_shares ?? [],
        listed: validator && { ...validator },
      })
      markReady(validator, share_index)
      markReady(exits.get(public_key), share_index)
    }
    return { status: 200, body: {} }
  }

  const server = await startHttpStandIn(async (request) => {
    seen.push(request)
    for (const look of [...conditions]) look()
    try {
      const hooked = await relayer.hook?.(request)
      if (hooked !== undefined) return hooked
      if (request.path === '/info') return { status: 200, body: { network: relayer.network } }
      if (request.path === '/exits') return await list('exits', request)
      if (request.path === '/validators') return await list('validators', request)
      if (request.path === '/exit-signature' && relayer.lists.has('exits')) return take(request)
      if (request.path === '/signatures' && relayer.lists.has('validators')) return takePairs(request)
      return { status: 404, body: { detail: 'Not Found' } }
    } finally {
      for (const look of [...conditions]) look()
    }
  })

  const relayer: StandInRelayer = {
    ...server,
    exits,
    validators,
    posts,
    pairs,
    lists: new Set(options.lists ?? (isOurs ? ['exits', 'validators'] : ['exits'])),
    batches,
    seen,
    hook: undefined,
    network: options.network ?? 'hoodi',
    takes: true,
    addExit(publicKey, validatorIndex, ready = []) {
      exits.set(publicKey, {
        public_key: publicKey,
        validator_index: validatorIndex,
        is_exit_signature_ready: false,
        created_at_timestamp: 1732147200,
        created_at_string: '2024-11-21 00:00:00+0000',
        share_indexes_ready: [...ready],
        ...(isOurs ? { share_indexes_unverified: [], share_indexes_rejected: [] } : {}),
      })
      touch(publicKey)
    },
    removeExit: (publicKey) => void exits.delete(publicKey),
    addValidator(publicKey, validatorIndex, deposit = {}, ready = []) {
      validators.set(publicKey, {
        public_key: publicKey,
        vault: VAULT,
        amount: 32_000_000_000,
        validator_type: '0x01',
        ...deposit,
        validator_index: validatorIndex,
        is_signatures_ready: false,
        created_at_timestamp: 1732147200,
        created_at_string: '2024-11-21 00:00:00+0000',
        share_indexes_ready: [...ready],
        ...(isOurs ? { share_indexes_unverified: [], share_indexes_rejected: [] } : {}),
      })
      if (exits.get(publicKey)?.validator_index === validatorIndex) touch(publicKey)
      else relayer.addExit(publicKey, validatorIndex, ready)
    },
    until: (condition) =>
      new Promise((resolve) => {
        const look = () => {
          if (!condition()) return
          conditions.delete(look)
          resolve()
        }
        conditions.add(look)
        look()
      }),
    async [Symbol.asyncDispose]() {
      for (const wake of [...sleepers]) wake()
      await server[Symbol.asyncDispose]()
    },
  }
  return relayer
}
