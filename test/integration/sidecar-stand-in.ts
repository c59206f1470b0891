/** A relayer stand-in for the sidecar's tests: the existing relayer of generation 3, or ours with long polling, and hostile ones. */

import {
  type HttpStandIn,
  type StandInAnswer,
  type StandInRequest,
  startHttpStandIn,
} from '../support/chain/http-stand-in.ts'

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

export interface RelayerOptions {
  /** `existing` knows no revision and takes every post; `ours` has revisions and long polling. */
  generation: 'existing' | 'ours'
  network?: string
  port?: number
}

export interface StandInRelayer extends HttpStandIn {
  readonly exits: Map<string, StandInExit>
  readonly posts: Post[]
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
  /** Resolves when the condition holds; looked at before and after every request. */
  until(condition: () => boolean): Promise<void>
}

/** Starts a relayer stand-in. */
export async function startStandInRelayer(options: RelayerOptions): Promise<StandInRelayer> {
  const exits = new Map<string, StandInExit>()
  const revisions = new Map<string, number>()
  const posts: Post[] = []
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

  async function list({ query }: StandInRequest): Promise<StandInAnswer> {
    const all = () => [...exits.values()]
    if (!isOurs) return { status: 200, body: { exits: all() } }
    const after = query.get('after')
    if (after === null) return { status: 200, body: { exits: all(), revision } }
    await waitForChange(Number(after), Number(query.get('wait') ?? 0))
    const changed = all().filter(({ public_key }) => (revisions.get(public_key) ?? 0) > Number(after))
    return { status: 200, body: { exits: changed, revision } }
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
      if (exit === undefined || !relayer.takes || exit.share_indexes_ready.includes(share_index)) continue
      exit.share_indexes_ready.push(share_index)
      touch(public_key)
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
      if (request.path === '/exits') return await list(request)
      if (request.path === '/exit-signature') return take(request)
      return { status: 404, body: { detail: 'Not Found' } }
    } finally {
      for (const look of [...conditions]) look()
    }
  })

  const relayer: StandInRelayer = {
    ...server,
    exits,
    posts,
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
