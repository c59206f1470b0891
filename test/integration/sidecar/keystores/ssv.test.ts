/** Sidecars of SSV operators: key shares from the chain and from files, signed and posted. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createSsvChain } from '../../../../apps/sidecar/src/keystores/ssv/chain.ts'
import { createExecutionClient } from '../../../../libs/chain/src/execution/execution.ts'
import { networks } from '../../../../libs/chain/src/networks.ts'
import { emptySsvState, type SsvState } from '../../../../libs/chain/src/ssv/registry.ts'
import { fromHex, toHex } from '../../../../libs/common/src/hex.ts'
import { PATIENCE_MS } from '../../../demo/wait.ts'
import type { RpcStandIn } from '../../../support/chain/rpc.ts'
import {
  loadSsvCluster,
  makeOperators,
  makeSsvValidators,
  operatorAddedLog,
  operatorFiles,
  SSV_CLUSTERS,
  ssvLogs,
  ssvPath,
  validatorAddedLog,
  validatorRemovedLog,
  writePlainKeys,
} from '../../../support/keys/ssv.ts'
import { eventually } from '../../../support/world/world.ts'
import { startStandInRelayer } from '../stand-in.ts'
import { engine, first, rootOf } from '../support.ts'
import {
  bootError,
  chainConfig,
  HEAD,
  isRightExit,
  isRightSsvPair,
  liveClusters,
  lively,
  ssvConfig,
  startLogged,
  startSsvNode,
} from './ssv-support.ts'

const OPERATORS = [5, 128, 263, 280, 281, 282, 1402, 70001]
let root = ''
let count = 0
const path = (name = 'file') => join(root, `${count++}-${name}`)
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'sidecar-ssv-'))
  await writePlainKeys(root, OPERATORS)
})
const plain = (operator: number) => ({ SSV_OPERATOR_KEY_FILE: join(root, `key-${operator}`) })
afterAll(() => rm(root, { recursive: true, force: true }))

const SKIPPED = 'registrations of the SSV contract skipped'

describe('a log that an answer lacks', () => {
  const scope = {
    contract: networks.hoodi.ssvNetwork ?? { address: new Uint8Array(20), block: 0 },
    owners: undefined,
    operators: undefined,
  }

  /** A follower with a file in memory. */
  function followerOf(nodes: readonly RpcStandIn[], owners?: readonly Uint8Array[], saved: SsvState[] = []) {
    const wrong: string[] = []
    const told = {
      ssvScanning: () => {},
      ssvEventsSkipped: () => {},
      ssvMalformed: () => {},
      ssvReorganized: () => {},
      ssvGaps: () => {},
      ssvLogsWrong: (sentence: string) => void wrong.push(sentence),
    }
    const file = {
      path: 'memory',
      load: async () => saved.at(-1) ?? emptySsvState(scope),
      save: async (state: SsvState) => void saved.push(state),
    }
    const execution = createExecutionClient({
      endpoints: nodes.map(({ url }) => url),
      timeoutMs: 60_000,
      retryTimeoutMs: 60_000,
      backoffMs: { first: 1, most: 5 },
      network: networks.hoodi,
    })
    const network = networks.hoodi
    const chain = createSsvChain({ execution, network, scope: { ...scope, owners }, engine, events: told, file })
    return { chain, saved, wrong, follow: () => chain.follow(AbortSignal.timeout(PATIENCE_MS)) }
  }

  const logs = [...ssvLogs('operator-added.json'), ...ssvLogs('validator-added.json')]
  it.each([
    ['everybody', undefined],
    ['one owner', [fromHex(loadSsvCluster('cluster-4').owner)]],
  ] as const)('once is noticed whichever it is, and nothing is missed: %s', async (_who, owners) => {
    await using node = await startSsvNode()
    const honest = followerOf([node], owners)
    await honest.follow()
    const counted = logs.filter(
      ({ topics: [event, who = ''] }) =>
        owners === undefined ||
        event === logs[0]?.topics[0] ||
        who.endsWith(toHex(owners[0] ?? new Uint8Array()).slice(2)),
    )
    for (const lacking of counted) {
      let times = 0
      node.leavesOut = ({ blockNumber, logIndex }) =>
        blockNumber === lacking.blockNumber && logIndex === lacking.logIndex && times++ === 0
      const { chain, follow } = followerOf([node], owners)
      await follow()
      expect(times, `log ${lacking.logIndex} of block ${lacking.blockNumber}`).toBeGreaterThan(1)
      expect(chain.state).toEqual(honest.chain.state)
    }
  })

  it('time and again is never passed over: nothing is stored beyond it until answers agree', async () => {
    await using node = await startSsvNode()
    const { chain, saved, follow } = followerOf([node])
    let times = 0
    node.leavesOut = ({ blockNumber }) => blockNumber === 1_200_344 && times++ % 2 === 0
    await expect(follow()).rejects.toMatchObject({
      code: 'EXECUTION_INVALID',
      message: expect.stringContaining('left log 0 of block 1200344 of the SSV contract out'),
    })
    for (const { nextBlock } of saved) expect(nextBlock).toBeLessThanOrEqual(1_200_344)
    node.leavesOut = () => false
    await follow()
    const honest = followerOf([node])
    await honest.follow()
    expect(chain.state).toEqual(honest.chain.state)
  })

  it('always at one node is shown by a signature of a later nonce, and read from the other node', async () => {
    await using lacking = await startSsvNode()
    await using node = await startSsvNode()
    lacking.leavesOut = ({ blockNumber }) => blockNumber === 1_200_344
    const { chain, saved, follow } = followerOf([lacking, node])
    await expect(follow()).rejects.toMatchObject({
      code: 'EXECUTION_INVALID',
      message: expect.stringMatching(
        new RegExp(
          `^registrations of ${loadSsvCluster('cluster-4').owner} before log .*, ${new URL(node.url).host} has`,
        ),
      ),
    })
    expect(saved.at(-1)).toEqual(emptySsvState(scope))
    await follow()
    const honest = followerOf([node])
    await honest.follow()
    expect(chain.state).toEqual(honest.chain.state)
  })

  it('at every node leaves a mark in what is stored: a restart beside an honest node reads all again', async () => {
    await using node = await startSsvNode()
    node.leavesOut = ({ blockNumber }) => blockNumber === 1_200_344
    const before = followerOf([node])
    // As if the owner had skipped a nonce, which the contract lets it: nobody knows better.
    await before.follow()
    expect([...(before.chain.state?.gaps.keys() ?? [])]).toEqual([loadSsvCluster('cluster-4').owner])
    node.leavesOut = () => false
    const after = followerOf([node], undefined, before.saved)
    await expect(after.follow()).rejects.toThrow(/all events are read again$/)
    // What is known goes on counting meanwhile.
    expect(after.chain.state?.live.size).toBe(before.saved[0]?.live.size)
    await after.follow()
    const honest = followerOf([node])
    await honest.follow()
    expect(after.chain.state).toEqual(honest.chain.state)
    expect(after.chain.state?.gaps.size).toBe(0)
  })

  describe('with none of its owner after it', () => {
    const last = 1_207_777
    const isLast = ({ blockNumber }: { blockNumber: number }) => blockNumber === last

    /** A node whose newest final blocks have the last registration, and that has headers and receipts as real ones do. */
    async function startNewNode() {
      const node = await startSsvNode()
      node.head = last + 100
      node.finalized = last + 36
      node.receipts = { leaveOut: () => false }
      return node
    }

    it('is taken from the receipts of its block, once and for all', async () => {
      await using node = await startNewNode()
      const honest = followerOf([node])
      await honest.follow()
      node.leavesOut = isLast
      const { chain, saved, wrong, follow } = followerOf([node])
      await follow()
      expect(chain.state).toEqual(honest.chain.state)
      expect(saved.at(-1)).toEqual(honest.saved.at(-1))
      expect(wrong).toEqual([
        `the execution node at ${new URL(node.url).host} said otherwise of log 0 of block ${last} of the SSV contract than the receipts of that block`,
      ])
    })

    it('of receipts that lack it too is named, and nothing is kept beyond it until one node shows it', async () => {
      await using node = await startNewNode()
      node.leavesOut = isLast
      node.receipts = { leaveOut: isLast }
      const { chain, saved, follow } = followerOf([node])
      for (let again = 0; again < 2; again++)
        await expect(follow()).rejects.toMatchObject({
          code: 'EXECUTION_INVALID',
          message: expect.stringMatching(
            new RegExp(`^block ${last} may have an event of the SSV contract that .* left out, and nothing proves`),
          ),
        })
      // However long that lasts: what has not been held against its header never becomes history.
      const [head, finalized] = [node.head, node.finalized]
      node.head += 20_000
      node.finalized = last + 20_000
      await expect(follow()).rejects.toThrow(`block ${last} may have an event`)
      for (const { nextBlock } of saved) expect(nextBlock).toBeLessThanOrEqual(last)
      node.head = head
      node.finalized = finalized
      // Another one has the receipts, and the header stands for them.
      await using other = await startNewNode()
      other.leavesOut = isLast
      const both = followerOf([node, other], undefined, saved)
      await both.follow()
      node.leavesOut = () => false
      node.receipts = { leaveOut: () => false }
      const honest = followerOf([node])
      await honest.follow()
      expect(both.chain.state).toEqual(honest.chain.state)
      await follow()
      expect(chain.state).toEqual(honest.chain.state)
    })

    it('costs an honest node a question for each new block, and one for each that may have an event', async () => {
      await using node = await startNewNode()
      const { wrong, follow } = followerOf([node])
      await follow()
      const asked = (method: string) => node.methods.filter((name) => name === method).length
      expect(asked('eth_getBlockReceipts')).toBe(1)
      expect(asked('eth_getBlockByNumber')).toBeLessThan(512 + 64 + 12)
      node.methods.length = 0
      node.head += 32
      node.finalized = last + 68
      await follow()
      expect(asked('eth_getBlockByNumber')).toBeLessThan(32 + 32 + 12)
      expect(asked('eth_getBlockReceipts')).toBe(0)
      node.methods.length = 0
      await follow()
      expect(node.methods.length).toBeLessThan(16)
      expect(wrong).toEqual([])
    })

    it('in a history of years is found at the node that has it, range by range', async () => {
      await using lacking = await startSsvNode()
      await using node = await startSsvNode()
      lacking.leavesOut = isLast
      const { chain, saved, follow } = followerOf([lacking, node])
      await follow()
      const honest = followerOf([node])
      await honest.follow()
      expect(chain.state?.live.size).toBe((honest.chain.state?.live.size ?? 0) - 1)
      const rounds = async () => {
        for (let round = 1; round <= 60; round++) {
          const error = await follow().then(
            () => undefined,
            (reason: unknown) => reason,
          )
          if (error !== undefined) return { round, error }
        }
        return undefined
      }
      expect((await rounds())?.error).toMatchObject({
        message: `log 0 of block ${last} of the SSV contract, or one before it, was left out by an execution node, ${new URL(node.url).host} has it: all events are read again`,
      })
      expect(saved.at(-1)).toEqual(emptySsvState(scope))
      await follow()
      expect(chain.state).toEqual(honest.chain.state)
      // Then all is well, at both nodes, and soon nobody asks any more.
      expect(await rounds()).toBeUndefined()
      node.methods.length = 0
      await follow()
      expect(node.methods.filter((name) => name === 'eth_getLogs')).toEqual([])
    })
  })

  it('is not one that a single node invents: the receipts of its block show that it is not there', async () => {
    const operators = makeOperators([263, 280, 281, 282])
    const { owner, validators } = loadSsvCluster('cluster-4-dkg')
    const publicKey = fromHex(first(validators).public_key)
    const inventions = [
      validatorRemovedLog({ owner, operators, publicKey }, 1_207_900, 0),
      validatorAddedLog({ owner, ownerNonce: 0, operators, publicKey, sharesData: new Uint8Array(1312) }, 1_200_200, 0),
      operatorAddedLog(first(makeOperators([77])), 1_000_000, 0),
    ]
    await using node = await startSsvNode()
    await using liar = await startSsvNode()
    node.receipts = { leaveOut: () => false }
    const honest = followerOf([node])
    await honest.follow()
    for (const invention of inventions) {
      liar.logs = [...logs, invention].sort((a, b) => a.blockNumber - b.blockNumber)
      liar.methods.length = 0
      const { chain, follow } = followerOf([node, liar])
      for (let round = 0; round < 40; round++) await follow()
      expect(chain.state).toEqual(honest.chain.state)
      // It was heard as far as its invention, and is left alone for a while.
      expect(liar.methods).toContain('eth_getLogs')
    }
  })

  it('is named by /ready until it is there', async () => {
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    await using node = await startSsvNode()
    let times = 0
    node.leavesOut = ({ blockNumber }) => blockNumber === 1_200_344 && times++ % 2 === 0
    const { sidecar } = await startLogged(lively(chainConfig(relayer.url, [node], 263, path(), plain(263))))
    await using _sidecar = sidecar
    await eventually('it is named', async () =>
      JSON.stringify(sidecar.ready()).includes('left log 0 of block 1200344') ? true : undefined,
    )
    node.leavesOut = () => false
    await eventually('it is there', async () => (sidecar.ready().checks['keys']?.ok === true ? true : undefined))
  })
})

describe('key shares from the chain', () => {
  it('of every operator, found by its key through a node with small ranges, sign what any threshold of them exits', async () => {
    const live = liveClusters()
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    await using node = await startSsvNode()
    node.limit = { blocks: 200_000, refusal: { code: -32005, message: 'query exceeds max block range' } }
    for (const [position, key] of [...live.keys()].entries()) relayer.addExit(key, 100 + position)
    await using stack = new AsyncDisposableStack()
    for (const operator of OPERATORS) {
      const { sidecar, find } = stack.use(await startLogged(chainConfig(relayer.url, [node], operator, path())))
      expect(sidecar.ready().checks['keys']).toEqual({ ok: true })
      expect(find('keys loaded')).toMatchObject([
        { keys: [...live.values()].filter((name) => loadSsvCluster(name).operator_ids.includes(operator)).length },
      ])
    }
    const wanted = [...live].flatMap(([key, name]) => loadSsvCluster(name).operator_ids.map((id) => `${key}:${id}`))
    const posted = () => new Set(relayer.posts.map(({ publicKey, shareIndex }) => `${publicKey}:${shareIndex}`))
    await relayer.until(() => wanted.every((id) => posted().has(id)))
    expect([...posted()].sort()).toEqual([...wanted].sort())
    for (const post of relayer.posts) expect(isRightExit(live.get(post.publicKey) ?? 'cluster-4', post)).toBe(true)
    for (const [key, name] of live) {
      const { threshold } = loadSsvCluster(name)
      const points = new Map(
        relayer.posts.filter((post) => post.publicKey === key).map((post) => [post.shareIndex, post]),
      )
      const some = [...points.values()].slice(-threshold)
      const exit = engine.interpolateSignatures(
        some.map(({ shareIndex, signature }) => ({ index: BigInt(shareIndex), point: fromHex(signature) })),
      )
      expect(engine.verify(fromHex(key), rootOf('hoodi', first(some).validatorIndex ?? 0), exit)).toBe(true)
    }
  })

  it('tell what was skipped, once, with the reason, and count it', async () => {
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    await using node = await startSsvNode()
    // Nothing is final: every event is looked at as news first and as final later.
    node.finalized = null
    await using one = await startLogged(lively(chainConfig(relayer.url, [node], 263, path(), plain(263))))
    node.finalized = HEAD - 10
    await eventually('the final state', async () => (node.ranges.some(([, to]) => to === HEAD - 10) ? true : undefined))
    expect(one.find(SKIPPED).flatMap(({ registrations }) => registrations)).toEqual([
      'log 3 of block 1203002 by 0xa4f91b1f8eaaae1396bd088561d29fe99357b305: its shares have 1056 bytes, must have 1312 for 4 operators',
      'log 1 of block 1206000 by 0xd0598984990abf4f4ab8fa4d9fe82f561f6f9eb6: its shares are not signed by the validator key for this owner and nonce 0',
    ])
    const metrics = await one.sidecar.metrics()
    expect(metrics).toContain('dvt_sidecar_ssv_events_skipped{reason="length"} 1')
    expect(metrics).toContain('dvt_sidecar_ssv_events_skipped{reason="owner_signature"} 1')
    expect(metrics).toContain('dvt_sidecar_keys 3')
    expect(
      one.find(
        'SSV_OWNERS is unset, so validators of any owner count: whoever registers one has made its key and may know it whole, and each costs this sidecar work; name the owners you trust',
      ).length,
    ).toBe(1)
  })

  it('of the owners that are named only', async () => {
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    await using node = await startSsvNode()
    const other = { SSV_OWNERS: `0x${'12'.repeat(20)}` }
    await using none = await startLogged(chainConfig(relayer.url, [node], 263, path(), { ...plain(263), ...other }))
    expect(none.find('keys loaded')).toMatchObject([{ keys: 0 }])
    expect(none.sidecar.ready().checks['keys']).toEqual({ ok: true })
    const owner = { SSV_OWNERS: '0xA4F91B1F8eaAaE1396bD088561D29FE99357b305', SSV_OPERATOR_ID: '263' }
    await using all = await startLogged(chainConfig(relayer.url, [node], 263, path(), { ...plain(263), ...owner }))
    expect(all.find('keys loaded')).toMatchObject([{ keys: 3 }])
    expect(all.find(SKIPPED).flatMap(({ registrations }) => registrations).length).toBe(1)
  })

  it('are read once: a restart goes on where the last run was, and begins anew where the file is of no use', async () => {
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    await using node = await startSsvNode()
    const state = path('state.json')
    const start = async (more = {}) => {
      node.ranges.length = 0
      await using one = await startLogged(chainConfig(relayer.url, [node], 263, state, { ...plain(263), ...more }))
      expect(one.find('keys loaded')).toMatchObject([{ keys: 3 }])
      return { from: first(node.ranges)[0], told: one.find }
    }
    expect((await start()).from).toBe(1065)
    const kept = await readFile(state, 'utf8')
    expect((await start()).from).toBe(HEAD - 63)
    const useless =
      'the SSV state file is of other operators, owners or another contract: the events are read from the first block on'
    const other = await start({ SSV_OPERATOR_ID: '263' })
    expect([other.from, other.told(useless).length]).toEqual([1065, 1])
    await writeFile(state, kept.slice(0, -20))
    const broken = await start()
    const unread = 'the SSV state file cannot be read: the events are read from the first block on'
    expect([broken.from, broken.told(unread).length]).toEqual([1065, 1])
    expect(await readFile(state, 'utf8')).toBe(kept)
    expect(kept).not.toContain(
      loadSsvCluster('cluster-4').validators[0]?.public_key_shares[0]?.secret_key_share.slice(2),
    )
  })

  it('say so where the state file goes further than the node', async () => {
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    await using node = await startSsvNode()
    const state = path('state.json')
    await (await startLogged(chainConfig(relayer.url, [node], 263, state, plain(263))))[Symbol.asyncDispose]()
    node.finalized = 1_000_000
    await using behind = await startLogged(chainConfig(relayer.url, [node], 263, state, plain(263)))
    expect(behind.find('keys loaded')).toMatchObject([{ keys: 3 }])
    const host = new URL(node.url).host
    expect(behind.sidecar.ready().checks['keys']?.message).toBe(
      `the execution node at ${host} has block 1000000 as final, ${state} goes up to block 1299936: either the node is still catching up, or the chain is another one and that file must be removed`,
    )
  })

  it('say after 5 s that a node takes connections and says nothing, whatever its limit is, and keep the keys', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await using node = await startSsvNode()
    const config = chainConfig(relayer.url, [node], 263, path('state.json'), plain(263))
    await using one = await startLogged(lively(config))
    const keys = () => one.sidecar.ready().checks['keys']
    await eventually('the keys are there', async () => (keys()?.ok === true ? true : undefined))
    node.fail('slow')
    // One that falls silent in the middle of a look is known at the next.
    await eventually('it is said', async () =>
      keys()?.message?.includes('has not answered within 5') === true ? true : undefined,
    )
    expect(await one.sidecar.metrics()).toMatch(/^dvt_sidecar_keys 3$/m)
    node.fail(undefined)
    await eventually('it goes on', async () => (keys()?.ok === true ? true : undefined))
  })

  it('come when the node does: one that is away does not stop the boot', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await using away = await startSsvNode()
    await using second = await startSsvNode()
    away.fail('down')
    second.fail({ status: 503 })
    const key = loadSsvCluster('cluster-4').validators[1]?.public_key ?? ''
    relayer.addExit(key, 7)
    const config = chainConfig(relayer.url, [away, second], 263, path(), plain(263))
    const hasty = {
      ...lively(config),
      ssv: config.ssv && { ...config.ssv, chain: config.ssv.chain && { ...config.ssv.chain, retryTimeoutMs: 0 } },
    }
    await using one = await startLogged(hasty)
    expect(one.find('keys loaded')).toMatchObject([{ keys: 0 }])
    expect(one.sidecar.ready()).toMatchObject({ status: 'not_ready', checks: { keys: { ok: false } } })
    expect(one.sidecar.ready().checks['keys']?.message).toMatch(/^POST .* at 127\.0\.0\.1:\d+ (failed|answers)/)
    second.fail(undefined)
    await relayer.until(() => relayer.posts.length > 0)
    expect(isRightExit('cluster-4', first(relayer.posts))).toBe(true)
    expect(one.find('keys changed')).toMatchObject([{ added: 3, removed: 0, keys: 3 }])
    await relayer.until(() => one.sidecar.ready().status === 'ready')
  })

  it('follow the chain: validators come, go, and vanish with a reorganization', async () => {
    const operators = makeOperators([5, 128, 1402, Number.MAX_SAFE_INTEGER - 1])
    const own = operators[3]
    if (own === undefined) throw new Error('no operator')
    const owner = `0x${'a1'.repeat(20)}`
    const [a, b, c] = makeSsvValidators(3, operators, { owner })
    if (a === undefined || b === undefined || c === undefined) throw new Error('no validator')
    const added = operators.map((operator, position) => operatorAddedLog(operator, 2_000, position))
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await using node = await startSsvNode({ logs: [...added, validatorAddedLog(a, 3_000, 0)] })
    const keyFile = path('key')
    await writeFile(keyFile, own.keyFile)
    const environment = { SSV_OPERATOR_KEY_FILE: keyFile, EXECUTION_ENDPOINT: node.url, SSV_STATE_FILE: path() }
    await using one = await startLogged(lively(ssvConfig(relayer.url, environment)))
    const postsOf = ({ publicKey }: { publicKey: Uint8Array }) =>
      relayer.posts.filter((post) => post.publicKey === toHex(publicKey))
    for (const [position, { publicKey }] of [a, b, c].entries()) relayer.addExit(toHex(publicKey), 20 + position)
    await relayer.until(() => postsOf(a).length > 0)
    expect(postsOf(a)).toMatchObject([{ shareIndex: 9_007_199_254_740_990 }])
    const share = a.shares.find(({ index }) => index === BigInt(own.id))
    expect(
      engine.verify(share?.publicKey ?? new Uint8Array(), rootOf('hoodi', 20), fromHex(postsOf(a)[0]?.signature ?? '')),
    ).toBe(true)

    // A new block with a validator, and one with the next; then another chain without the second.
    node.logs.push(validatorAddedLog(b, HEAD + 1, 0))
    node.head = HEAD + 1
    await relayer.until(() => postsOf(b).length > 0)
    node.logs.push(validatorAddedLog(c, HEAD + 2, 0))
    node.head = HEAD + 2
    await relayer.until(() => postsOf(c).length > 0)
    node.logs.pop()
    node.fork = { from: HEAD + 2, salt: 'C' }
    node.head = HEAD + 3
    await eventually('keys without the third', async () =>
      one.find('keys changed', { keys: 2 }).length > 1 ? true : undefined,
    )
    expect(one.find('the chain has changed: its newest SSV events are read again')).toMatchObject([{ block: HEAD + 2 }])
    expect(one.find('keys changed').map(({ added, removed, keys }) => [added, removed, keys])).toEqual([
      [1, 0, 2],
      [1, 0, 3],
      [0, 1, 2],
    ])
    // The owner's nonce is that of the chain as it is now: the third comes again as it was signed.
    node.logs.push(validatorAddedLog(c, HEAD + 4, 0), validatorRemovedLog(a, HEAD + 4, 1))
    node.head = HEAD + 4
    await eventually('keys with the third', async () =>
      one.find('keys changed', { added: 1, removed: 1 }).length > 0 ? true : undefined,
    )
    // What was removed is signed no more, whatever is asked.
    const before = relayer.posts.length
    relayer.addExit(toHex(a.publicKey), 30)
    relayer.addExit(toHex(b.publicKey), 31)
    await relayer.until(() => relayer.posts.slice(before).some(({ validatorIndex }) => validatorIndex === 31))
    expect(relayer.posts.slice(before).filter(({ validatorIndex }) => validatorIndex === 30)).toEqual([])
    expect(one.sidecar.ready().checks['keys']).toEqual({ ok: true })
  })

  it('that do not decrypt, or to another secret, cost the others nothing, and each is named', async () => {
    const operators = makeOperators([1, 2, 3, 4])
    const [, own] = operators
    if (own === undefined) throw new Error('no operator')
    const owner = `0x${'a2'.repeat(20)}`
    const [good, noise, swapped] = makeSsvValidators(3, operators, { owner })
    if (good === undefined || noise === undefined || swapped === undefined) throw new Error('no validator')
    const at = 96 + 4 * 48 + 256
    noise.sharesData.fill(7, at, at + 256)
    const other = own.encrypt(good.secretKey)
    swapped.sharesData.set(other, at)
    const added = operators.map((operator, position) => operatorAddedLog(operator, 2_000, position))
    await using node = await startSsvNode({
      logs: [
        ...added,
        validatorAddedLog(good, 3_000, 0),
        validatorAddedLog(noise, 3_000, 1),
        validatorAddedLog(swapped, 3_001, 0),
      ],
    })
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    const keyFile = path('key')
    await writeFile(keyFile, own.keyFile)
    const environment = { SSV_OPERATOR_KEY_FILE: keyFile, EXECUTION_ENDPOINT: node.url, SSV_STATE_FILE: path() }
    await using one = await startLogged(ssvConfig(relayer.url, environment))
    expect(one.find('keys loaded')).toMatchObject([{ keys: 1 }])
    expect(
      one.find(
        "key shares skipped: they do not decrypt with the operator's key to the secret of their public key share",
      ),
    ).toMatchObject([{ count: 2, shares: ['operator 2 in log 1 of block 3000', 'operator 2 in log 0 of block 3001'] }])
    expect(await one.sidecar.metrics()).toContain('dvt_sidecar_shares_undecipherable 2')
    expect(one.sidecar.ready().checks['keys']).toEqual({ ok: true })
  })

  it('are not taken from a node that lacks the blocks', async () => {
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    await using ahead = await startSsvNode()
    await using behind = await startSsvNode()
    behind.head = 500_000
    behind.logs = []
    const config = lively(chainConfig(relayer.url, [behind, ahead], 263, path(), plain(263)))
    await using one = await startLogged(config)
    expect(one.find('keys loaded')).toMatchObject([{ keys: 0 }])
    expect(one.sidecar.ready().checks['keys']?.message).toMatch(/is the execution node still catching up/)
    behind.fail('down')
    await eventually('the keys of the other', async () =>
      one.find('keys changed', { keys: 3 }).length > 0 ? true : undefined,
    )
  })
})

describe('key shares from files', () => {
  it.each(SSV_CLUSTERS)('of %s: exits and deposits of every operator, without an execution node', async (name) => {
    const { operator_ids, validators } = loadSsvCluster(name)
    await using relayer = await startStandInRelayer({ generation: 'existing', lists: ['validators'] })
    for (const [position, { public_key }] of validators.entries()) relayer.addValidator(public_key, 50 + position)
    await using stack = new AsyncDisposableStack()
    for (const operator of operator_ids) {
      const { find } = stack.use(
        await startLogged(
          ssvConfig(relayer.url, {
            ...plain(operator),
            SSV_KEYSHARES_FILES: ssvPath(`${name}/keyshares.json`),
            JOURNAL_FILE: path('journal'),
          }),
        ),
      )
      expect(find('keyshares file verified')).toMatchObject([
        { keys: validators.length, proven: name === 'cluster-4-dkg' },
      ])
      expect(
        find(
          'deposits are signed for any vault the relayer names: no cluster lock names their withdrawal address, so set ALLOWED_VAULTS',
        ),
      ).toMatchObject([{ validators: validators.length }])
    }
    const wanted = validators.length * operator_ids.length
    const distinct = () => new Set(relayer.pairs.map(({ publicKey, shareIndex }) => `${publicKey}:${shareIndex}`)).size
    await relayer.until(() => distinct() === wanted)
    expect(relayer.pairs.filter((pair) => !isRightSsvPair(name, pair))).toEqual([])
  })

  it('of several operators in one process', async () => {
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    const { validators } = loadSsvCluster('cluster-4')
    for (const [position, { public_key }] of validators.entries()) relayer.addExit(public_key, 60 + position)
    await using one = await startLogged(
      ssvConfig(relayer.url, {
        SSV_OPERATOR_IDS: '263,280,281,282',
        SSV_OPERATOR_KEY_FILE_TEMPLATE: join(root, 'key-{operator_id}'),
        SSV_KEYSHARES_FILES: ssvPath('cluster-4/keyshares.json'),
      }),
    )
    expect(one.find('keys loaded')).toMatchObject([{ keys: 8, nodes: 4 }])
    await relayer.until(
      () => new Set(relayer.posts.map(({ publicKey, shareIndex }) => publicKey + shareIndex)).size === 8,
    )
    expect(relayer.posts.filter((post) => !isRightExit('cluster-4', post))).toEqual([])
  })

  it('give way to a later split of the same owner, in whatever file', async () => {
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    const files = ['cluster-4', 'cluster-4-readded'].map((name) => ssvPath(`${name}/keyshares.json`)).join()
    await using old = await startLogged(ssvConfig(relayer.url, { ...plain(263), SSV_KEYSHARES_FILES: files }))
    expect(old.find('keys loaded')).toMatchObject([{ keys: 1 }])
    await using now = await startLogged(ssvConfig(relayer.url, { ...plain(70001), SSV_KEYSHARES_FILES: files }))
    expect(now.find('keys loaded')).toMatchObject([{ keys: 1 }])
  })

  it('stay where the later split is not the owner’s word', async () => {
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    const text = await readFile(ssvPath('cluster-4-readded/keyshares.json'), 'utf8')
    const json = JSON.parse(text) as { shares: { payload: { sharesData: string } }[] }
    for (const { payload } of json.shares) payload.sharesData = payload.sharesData.replace(/^0x../, '0x81')
    const forged = path('forged.json')
    await writeFile(forged, JSON.stringify(json))
    const files = [ssvPath('cluster-4/keyshares.json'), forged].join()
    await using one = await startLogged(ssvConfig(relayer.url, { ...plain(263), SSV_KEYSHARES_FILES: files }))
    expect(one.find('keys loaded')).toMatchObject([{ keys: 2 }])
  })

  it('beside the chain: what both have is held once, and operators must be those of the chain', async () => {
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    await using node = await startSsvNode()
    const more = { SSV_KEYSHARES_FILES: ssvPath('cluster-4/keyshares.json') }
    await using one = await startLogged(chainConfig(relayer.url, [node], 263, path(), { ...plain(263), ...more }))
    // The chain has one of the two; the other was removed there, but stands in the file.
    expect(one.find('keys loaded')).toMatchObject([{ keys: 4 }])

    const operators = makeOperators([263, 280, 281, 282])
    const text = await readFile(ssvPath('cluster-4/keyshares.json'), 'utf8')
    const json = JSON.parse(text) as { shares: { data: { operators: { id: number; operatorKey: string }[] } }[] }
    const swap = json.shares[1]?.data.operators[2]
    if (swap === undefined) throw new Error('no operator')
    swap.operatorKey = operators[2]?.publicKeyText ?? ''
    const file = path('keyshares.json')
    await writeFile(file, JSON.stringify(json))
    expect(await bootError(chainConfig(relayer.url, [node], 263, path(), { SSV_KEYSHARES_FILES: file }))).toEqual({
      code: 'KEYSHARES_INVALID',
      message: `${file} shares[1] names another key for operator 281 than the SSV contract: it is not used`,
    })
  })
})

describe('what is wrong is said', () => {
  const file = ssvPath('cluster-4/keyshares.json')
  const boot = (environment: Record<string, string | undefined>) =>
    bootError(ssvConfig('http://127.0.0.1:1', { ...operatorFiles(263), SSV_KEYSHARES_FILES: file, ...environment }))
  const keyFile = operatorFiles(263).SSV_OPERATOR_KEY_FILE

  it('of operator keys', async () => {
    const wrong = ssvPath('operators/280/password.txt')
    expect(await boot({ SSV_OPERATOR_PASSWORD_FILE: wrong })).toEqual({
      code: 'OPERATOR_KEY_UNREADABLE',
      message: `the operator key file ${keyFile} cannot be opened: the checksum does not fit (wrong password, or a damaged file); its password file is ${wrong}`,
    })
    expect((await boot({ SSV_OPERATOR_PASSWORD_FILE: '' })).message).toBe(
      `the operator key file ${keyFile} cannot be opened: is encrypted and needs its password file; name it with SSV_OPERATOR_PASSWORD_FILE`,
    )
    expect((await boot({ SSV_OPERATOR_PASSWORD_FILE: '/none/password' })).message).toBe(
      'the password file of the operator key /none/password cannot be read (ENOENT); SSV_OPERATOR_PASSWORD_FILE must name a file this user may read',
    )
    expect((await boot({ SSV_OPERATOR_KEY_FILE: '/none/key' })).message).toBe(
      'the operator key file /none/key cannot be read (ENOENT); SSV_OPERATOR_KEY_FILE must name a file this user may read',
    )
    expect((await boot({ SSV_OPERATOR_KEY_FILE: ssvPath('operators/70001/public_key') })).message).toMatch(
      /cannot be opened: is a public key, but the private key is needed; its password file is/,
    )
    const same = {
      SSV_OPERATOR_KEY_FILE: '',
      SSV_OPERATOR_KEY_FILE_TEMPLATE: path('key-{operator_id}'),
      SSV_OPERATOR_IDS: '263,264',
    }
    const { keyFile: text } = first(makeOperators([1]))
    for (const id of [263, 264])
      await writeFile(same.SSV_OPERATOR_KEY_FILE_TEMPLATE.replace('{operator_id}', String(id)), text)
    expect((await boot({ ...same, SSV_OPERATOR_PASSWORD_FILE: '' })).message).toMatch(
      /key-263 and .*key-264 hold the same operator key$/,
    )
  })

  it('of a wrong operator', async () => {
    const other = operatorFiles(5)
    expect(await boot(other)).toEqual({
      code: 'KEYSHARES_OF_OTHERS',
      message: `no validator of SSV_KEYSHARES_FILES has a share for the key of ${other.SSV_OPERATOR_KEY_FILE}: are the files of other operators or owners? (SSV_OPERATOR_KEY_FILE, SSV_OPERATOR_ID, SSV_OWNERS)`,
    })
    expect((await boot({ SSV_OPERATOR_ID: '280' })).message).toContain(`the key of ${keyFile} as operator 280: are`)
    expect((await boot({ SSV_OWNERS: `0x${'12'.repeat(20)}` })).code).toBe('KEYSHARES_OF_OTHERS')
    await using node = await startSsvNode()
    const config = (more: Record<string, string>) =>
      chainConfig('http://127.0.0.1:1', [node], 263, path(), { ...plain(263), SSV_OPERATOR_PASSWORD_FILE: '', ...more })
    const onChain = (more: Record<string, string>) => bootError(config(more))
    const health = async (more: Record<string, string>) => {
      await using one = await startLogged(config(more))
      return one.sidecar.ready().checks['keys']?.message
    }
    expect(await onChain({ SSV_OPERATOR_ID: '280' })).toEqual({
      code: 'OPERATOR_WRONG',
      message: `operator 280 has another key on the chain than ${join(root, 'key-263')}: that file has the key of operator 263; correct SSV_OPERATOR_ID or SSV_OPERATOR_KEY_FILE`,
    })
    // A node that is still catching up would say the same of a right one.
    expect(await health({ SSV_OPERATOR_ID: '9' })).toBe(
      'the SSV contract knows no operator 9: is it of another network, or is the execution node still catching up? (SSV_OPERATOR_ID, NETWORK)',
    )
    const stranger = path('key')
    await writeFile(stranger, first(makeOperators([1])).keyFile)
    expect(await health({ SSV_OPERATOR_KEY_FILE: stranger })).toBe(
      `no operator of the SSV contract has the key of ${stranger}: is it of another network, or is the execution node still catching up? (SSV_OPERATOR_KEY_FILE, NETWORK)`,
    )
    node.chainId = 1
    expect((await onChain({})).message).toMatch(
      /^the execution node at .* is on chain 1, hoodi is chain 560048 \(EXECUTION_ENDPOINT, NETWORK\)$/,
    )
  })

  it('of keyshares files and proofs', async () => {
    expect(await boot({ SSV_KEYSHARES_FILES: '/none/keyshares.json' })).toEqual({
      code: 'KEYSHARES_UNREADABLE',
      message: '/none/keyshares.json cannot be read (ENOENT); SSV_KEYSHARES_FILES must name files this user may read',
    })
    expect((await boot({ SSV_KEYSHARES_FILES: root })).message).toBe(
      `the folder ${root} of SSV_KEYSHARES_FILES holds no keyshares*.json: name the right one`,
    )
    const text = await readFile(file, 'utf8')
    const changed = async (change: (text: string) => string) => {
      const name = path('k.json')
      await writeFile(name, change(text))
      return { name, ...(await boot({ SSV_KEYSHARES_FILES: name })) }
    }
    const half = await changed((all) => all.slice(0, all.length / 2))
    expect(half).toMatchObject({ code: 'KEYSHARES_MALFORMED', message: `${half.name}: is not JSON` })
    // A public key share of another operator: the set does not belong to the validator key.
    const [validator] = loadSsvCluster('cluster-4').validators
    const [a = '', b = ''] = validator?.public_key_shares.map(({ public_key_share }) => public_key_share.slice(2)) ?? []
    const swapped = await changed((all) => all.replace(a + b, b + a))
    expect(swapped.message).toBe(
      `${swapped.name}: shares[0].payload.sharesData do not belong to the validator key with threshold 3`,
    )
    const nonce = await changed((all) => all.replace('"ownerNonce": 1', '"ownerNonce": 9'))
    expect(nonce.message).toBe(
      `${nonce.name}: shares[1].payload.sharesData are not signed by the validator key for this owner and nonce 9`,
    )
    const proofs = ssvPath('cluster-4-dkg/proofs.json')
    expect((await boot({ SSV_PROOFS_FILES: proofs })).message).toBe(
      `${proofs}: has no proof of operator 263's share of shares[0] (validator ${validator?.public_key})`,
    )
    const dkg = { SSV_KEYSHARES_FILES: ssvPath('cluster-4-dkg/keyshares.json') }
    const forged = path('proofs.json')
    const signature = /"signature": ?"(?:0x)?[0-9a-f]{6}/
    await writeFile(
      forged,
      (await readFile(proofs, 'utf8')).replace(signature, (found) => `${found.slice(0, -6)}badbad`),
    )
    expect((await boot({ ...dkg, SSV_PROOFS_FILES: forged })).message).toMatch(
      /has a proof of operator 263's share of shares\[0\] \(validator 0x[0-9a-f]{96}\) that this operator has not signed$/,
    )
  })
})
