import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { operatorKeyFingerprint, parseOperatorPublicKey } from '@dvt-relayer/crypto/ssv/operator-key.ts'
import { ssvThreshold } from '@dvt-relayer/crypto/ssv/shares.ts'
import fc from 'fast-check'
import type { Hex } from 'viem'
import { decodeEventLog, getAddress, keccak256 } from 'viem/utils'
import { describe, expect, it } from 'vitest'
import { countByRound } from '../../../../test/support/event-loop.ts'
import { readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { createTestKeys } from '../../../../test/support/keys/keys.ts'
import type { KeyedValidator } from '../../../../test/support/world/nodes.ts'
import { parseSsvState, ssvStateToJson } from './checkpoint.ts'
import {
  type SsvEvent,
  type SsvEventRange,
  type ValidatorAdded,
  validatorAddedEvent,
  validatorRemovedEvent,
} from './events.ts'
import {
  applySsvEvents,
  emptySsvState,
  liveRegistrations,
  operatorIdsOf,
  SSV_FAULT_KINDS,
  type SsvChange,
  type SsvRegistration,
  type SsvScope,
  type SsvState,
} from './registry.ts'

interface Expected {
  contract: string
  owner: string
  operators: { id: number; public_key: string }[]
  live_validators: { public_key: string; operator_ids: number[]; block_number: number; log_index: number }[]
}
interface Log {
  topics: [Hex, ...Hex[]]
  data: Hex
  blockNumber: string
  logIndex: string
}

const engine = createBlstEngine()
/** The live registrations that an operator has a share of. */
const registrationsOf = (state: Pick<SsvState, 'live'>, operatorId: number) =>
  liveRegistrations(state).filter(({ data }) => data.shares.some((share) => share.operatorId === operatorId))
const expected = readFixtureJson('ssv/expected.json') as Expected
const contract = { address: fromHex(expected.contract), block: 1065 }
const everything: SsvScope = { contract, owners: undefined, operators: undefined }
const IMPOSTOR = '0xd0598984990abf4f4ab8fa4d9fe82f561f6f9eb6'

/** The logs as viem decodes them. */
const chain: SsvEvent[] = (readFixtureJson('ssv/validator-added.json') as Log[]).map((log) => {
  const { eventName, args } = decodeEventLog({ abi: [validatorAddedEvent, validatorRemovedEvent], ...log })
  const position = { blockNumber: Number(log.blockNumber), logIndex: Number(log.logIndex) }
  const who = { owner: fromHex(args.owner), publicKey: fromHex(args.publicKey) }
  if (eventName === 'ValidatorRemoved') return { kind: 'validator_removed', ...position, ...who }
  return {
    kind: 'validator_added',
    ...position,
    ...who,
    operatorIds: args.operatorIds.map(Number),
    shares: fromHex(args.shares),
  }
})
const keyOf = (id: number) =>
  parseOperatorPublicKey(expected.operators.find((operator) => operator.id === id)?.public_key ?? '') ??
  new Uint8Array()
const operatorsAdded: SsvEvent[] = expected.operators.map(({ id }, position) => ({
  kind: 'operator_added',
  blockNumber: 2_000 + position,
  logIndex: 0,
  operatorId: id,
  publicKey: keyOf(id),
}))
const LAST = 1_300_000

async function feed(
  scope: SsvScope,
  events: readonly SsvEvent[],
  from: SsvState = emptySsvState(scope),
  toBlock = LAST,
): Promise<{ state: SsvState; changes: SsvChange[] }> {
  return applySsvEvents(engine, scope, from, { fromBlock: from.nextBlock, toBlock, events, undecodable: 0 })
}

const brief = ({ publicKey, data, blockNumber, logIndex }: SsvRegistration) => ({
  public_key: toHex(publicKey),
  operator_ids: data.shares.map(({ operatorId }) => operatorId),
  block_number: blockNumber,
  log_index: logIndex,
})
const liveOf = (operatorId: number) =>
  expected.live_validators
    .filter(({ operator_ids }) => operator_ids.includes(operatorId))
    .map(({ public_key, operator_ids, block_number, log_index }) => ({
      public_key,
      operator_ids,
      block_number,
      log_index,
    }))
const allLive = expected.live_validators.map(({ public_key, operator_ids, block_number, log_index }) => ({
  public_key,
  operator_ids,
  block_number,
  log_index,
}))
const noFaults = Object.fromEntries(SSV_FAULT_KINDS.map((kind) => [kind, 0]))

describe('the events of the fixtures', () => {
  it('leave the live validators, count nonces and skip what is malformed', async () => {
    const { state, changes } = await feed(everything, chain)
    expect(liveRegistrations(state).map(brief)).toEqual(allLive)
    expect(Object.fromEntries(state.nonces)).toEqual({ [expected.owner]: 7, [IMPOSTOR]: 1 })
    expect(state.malformed).toEqual({ ...noFaults, length: 1, owner_signature: 1 })
    expect(state.nextBlock).toBe(LAST + 1)
    expect(
      changes.map((change) =>
        change.change === 'skipped'
          ? `${change.event.blockNumber}.${change.event.logIndex} ${change.fault}: ${change.reason}`
          : `${change.change} ${change.registration.blockNumber}.${change.registration.logIndex}`,
      ),
    ).toEqual([
      'added 1200100.4',
      'added 1200100.5',
      'added 1200344.0',
      'added 1203001.17',
      '1203002.3 length: have 1056 bytes, must have 1312 for 4 operators',
      'removed 1200100.4',
      'added 1204500.6',
      '1206000.1 owner_signature: are not signed by the validator key for this owner and nonce 0',
      'added 1207777.0',
    ])
  })

  it('of other owners than the allowed ones do not count at all', async () => {
    const scope = { ...everything, owners: [fromHex(expected.owner)] }
    const { state, changes } = await feed(scope, chain)
    expect(liveRegistrations(state).map(brief)).toEqual(allLive)
    expect(Object.fromEntries(state.nonces)).toEqual({ [expected.owner]: 7 })
    expect(state.malformed).toEqual({ ...noFaults, length: 1 })
    expect(changes.some((change) => change.change === 'skipped' && toHex(change.event.owner) === IMPOSTOR)).toBe(false)
    expect(liveRegistrations((await feed({ ...scope, owners: [fromHex(IMPOSTOR)] }, chain)).state)).toEqual([])
  })

  it.each(expected.operators)('are the same for operator $id by its id, by its key, and among all', async ({ id }) => {
    const all = (await feed(everything, [...operatorsAdded, ...chain])).state
    const byId = { ...everything, operators: { ids: [id], publicKeys: [] } }
    const byKey = { ...everything, operators: { ids: [], publicKeys: [keyOf(id)] } }
    expect(registrationsOf(all, id).map(brief)).toEqual(liveOf(id))
    expect(operatorIdsOf(all, keyOf(id))).toEqual([id])
    expect(all.operators.get(id)).toBe(operatorKeyFingerprint(keyOf(id)))
    for (const scope of [byId, byKey]) {
      const { state } = await feed(scope, [...operatorsAdded, ...chain])
      expect([...state.live.values()].map(brief)).toEqual(liveOf(id))
      expect(registrationsOf(state, id).map(brief)).toEqual(liveOf(id))
      expect(state.nonces).toEqual(all.nonces)
    }
    expect((await feed(byKey, chain)).state.live.size).toBe(0)
    expect(registrationsOf(all, 264)).toEqual([])
  })

  it('come to the same in any ranges, and leave earlier states as they were', async () => {
    const whole = (await feed(everything, chain)).state
    let state = emptySsvState(everything)
    const earlier: [SsvState, string][] = []
    for (const block of [
      1_200_099,
      1_200_100,
      1_203_001,
      1_203_002,
      1_204_499,
      1_204_500,
      1_207_776,
      1_207_777,
      LAST,
    ]) {
      earlier.push([state, ssvStateToJson(everything, state)])
      const events = chain.filter(({ blockNumber }) => blockNumber >= state.nextBlock && blockNumber <= block)
      state = (await feed(everything, events, state, block)).state
    }
    expect(state).toEqual(whole)
    for (const [before, text] of earlier) expect(ssvStateToJson(everything, before)).toBe(text)
  })

  it('are wanted without a gap and only once', async () => {
    const { state } = await feed(everything, [], undefined, 1_200_000)
    const range = (fromBlock: number, toBlock: number): SsvEventRange => ({
      fromBlock,
      toBlock,
      events: [],
      undecodable: 0,
    })
    for (const wrong of [range(1_200_000, LAST), range(1_200_002, LAST), range(1_200_001, 1_200_000)])
      await expect(applySsvEvents(engine, everything, state, wrong)).rejects.toThrow(TypeError)
    const { state: next } = await applySsvEvents(engine, everything, state, range(1_200_001, 1_200_001))
    expect(next.nextBlock).toBe(1_200_002)
  })

  it('that a node leaves out shift the nonces: what comes after is refused, not trusted', async () => {
    const { state } = await feed(everything, chain.slice(1))
    expect(liveRegistrations(state)).toEqual([])
    expect(state.malformed.owner_signature).toBe(6)
    // The last of them says by how many.
    const { block_number: blockNumber, log_index: logIndex } = allLive.at(-1) ?? { block_number: 0, log_index: 0 }
    expect([...state.gaps]).toEqual([[expected.owner, { blockNumber, logIndex, counted: 5, signed: 6 }]])
    expect((await feed(everything, chain)).state.gaps.size).toBe(0)
  })
})

/** Events made here. */
const OWNERS = ['11', '22', '33'].map((byte) => fromHex(byte.repeat(20)))
const owner = (position: number) => OWNERS[position] ?? new Uint8Array()
function makeAdded(
  validator: KeyedValidator,
  by: { owner: Uint8Array; nonce: number; blockNumber: number; shares?: (shares: Uint8Array) => Uint8Array },
): ValidatorAdded {
  const text = `${getAddress(toHex(by.owner))}:${by.nonce}`
  const signature = engine.sign(validator.secretKey, fromHex(keccak256(Buffer.from(text))))
  const points = validator.shares.map(({ publicKey }) => publicKey)
  const shares = new Uint8Array(Buffer.concat([signature, ...points, Buffer.alloc(256 * points.length, 7)]))
  return {
    kind: 'validator_added',
    blockNumber: by.blockNumber,
    logIndex: 0,
    owner: by.owner,
    operatorIds: validator.shares.map(({ index }) => Number(index)),
    publicKey: validator.publicKey,
    shares: by.shares?.(shares) ?? shares,
  }
}
const makeValidator = (indexes: readonly bigint[] = [1n, 2n, 3n, 4n]): KeyedValidator => {
  const [validator] = createTestKeys(1, { nodes: indexes.length, threshold: ssvThreshold(indexes.length), indexes })
  if (validator === undefined) throw new Error('no validator')
  return validator
}
const removed = ({ publicKey }: { publicKey: Uint8Array }, by: Uint8Array, blockNumber: number): SsvEvent => ({
  kind: 'validator_removed',
  blockNumber,
  logIndex: 1,
  owner: by,
  publicKey,
})

describe('impostors', () => {
  const validator = makeValidator()
  const genuine = makeAdded(validator, { owner: owner(0), nonce: 0, blockNumber: 5_000 })
  /** The owner's own bytes, sent by somebody else. */
  const copied = { ...genuine, owner: owner(1), blockNumber: 4_000 }

  it('have no effect, before or after, adding or removing', async () => {
    const late = { ...copied, blockNumber: 6_000 }
    for (const events of [
      [copied, genuine],
      [copied, removed(validator, owner(1), 4_500), genuine],
      [genuine, late],
      [genuine, late, removed(validator, owner(1), 7_000)],
      [genuine, removed(validator, owner(1), 7_000)],
    ]) {
      const { state } = await feed(everything, events)
      expect(liveRegistrations(state).map(({ owner: by, blockNumber }) => [toHex(by), blockNumber])).toEqual([
        [toHex(owner(0)), 5_000],
      ])
    }
  })

  it('cannot send an old registration of the owner again', async () => {
    const again = { ...genuine, blockNumber: 7_000 }
    const { state } = await feed(everything, [genuine, removed(validator, owner(0), 6_000), again])
    expect(liveRegistrations(state)).toEqual([])
    expect(state.malformed.owner_signature).toBe(1)
  })

  it.each([
    ['a thousand blocks later', { blockNumber: 6_000 }],
    ['in the next block', { blockNumber: 5_001 }],
    ['in the same block', { logIndex: 1 }],
  ])(
    'are not who holds the key: where it has signed for two owners, %s, the newest counts, then the other again',
    async (_, place) => {
      const second = { ...makeAdded(validator, { owner: owner(1), nonce: 0, blockNumber: 5_000 }), ...place }
      const { state } = await feed(everything, [genuine, second], undefined, 10_000)
      expect(liveRegistrations({ live: new Map([...state.live].toReversed()) })).toEqual(liveRegistrations(state))
      expect(liveRegistrations(state).map(({ owner: by }) => toHex(by))).toEqual([toHex(owner(1))])
      const after = (await feed(everything, [removed(validator, owner(1), 11_000)], state)).state
      expect(liveRegistrations(after).map(({ owner: by }) => toHex(by))).toEqual([toHex(owner(0))])
    },
  )
})

it('a registration over a live one of the same owner takes its place', async () => {
  const validator = makeValidator()
  const [first, second] = [5_000, 6_000].map((blockNumber, nonce) =>
    makeAdded(validator, { owner: owner(0), nonce, blockNumber }),
  )
  if (first === undefined || second === undefined) throw new Error('no events')
  const { state, changes } = await feed(everything, [first, second])
  expect(
    changes.map((change) => (change.change === 'skipped' ? '' : [change.change, change.registration.blockNumber])),
  ).toEqual([
    ['added', 5_000],
    ['removed', 5_000],
    ['added', 6_000],
  ])
  expect(liveRegistrations(state).map(({ blockNumber }) => blockNumber)).toEqual([6_000])
})

it('registrations are verified one at a time, so that others have the event loop in between', async () => {
  const events = [0, 1].map((nonce) =>
    makeAdded(makeValidator(), { owner: owner(0), nonce, blockNumber: 5_000 + nonce }),
  )
  const counted = countByRound()
  const counting: BlsEngine = {
    ...engine,
    verify: (...args) => {
      counted.count()
      return engine.verify(...args)
    },
  }
  const range = { fromBlock: contract.block, toBlock: LAST, events, undecodable: 0 }
  await applySsvEvents(counting, everything, emptySsvState(everything), range)
  counted.end()
  expect(counted.inRounds()).toEqual([1, 1])
})

it.each([
  [6_999, 7_000],
  [7_000, undefined],
])(
  'a block that is not proven is one until the events of that block are in: up to block %i',
  async (toBlock, doubtful) => {
    const from = { ...emptySsvState(everything), doubtful: 7_000 }
    expect((await feed(everything, [], from, toBlock)).state.doubtful).toBe(doubtful)
  },
)

describe('malformed events', () => {
  const patched = (offset: number, value: number) => (shares: Uint8Array) => {
    const copy = Uint8Array.from(shares)
    copy[offset] = value
    return copy
  }
  const event = (change: Partial<ValidatorAdded>, shares?: (shares: Uint8Array) => Uint8Array): ValidatorAdded => ({
    ...makeAdded(makeValidator(), {
      owner: owner(0),
      nonce: 0,
      blockNumber: 5_000,
      ...(shares === undefined ? {} : { shares }),
    }),
    ...change,
  })
  it.each([
    ['operator_count', event({ operatorIds: [1, 2, 3] })],
    ['operator_count', event({ operatorIds: [1, 2, 3, 4, 5] })],
    ['operator_ids', event({ operatorIds: [1, 2, 4, 3] })],
    ['operator_ids', event({ operatorIds: [1, 2, 3, 2 ** 53] })],
    ['length', event({ shares: new Uint8Array() })],
    ['length', event({}, (shares) => shares.subarray(256))],
    ['point', event({}, patched(96, 0xc0))],
    ['point', event({ publicKey: new Uint8Array(47) })],
    ['point', event({ publicKey: new Uint8Array() })],
    ['polynomial', event({ operatorIds: [1, 2, 3, 5] })],
    ['owner_signature', event({}, patched(0, 0xc0))],
    ['owner_signature', event({ owner: owner(1) })],
  ] as const)('are skipped, counted and use up a nonce: %s', async (fault, malformed) => {
    const next = makeAdded(makeValidator(), { owner: malformed.owner, nonce: 1, blockNumber: 6_000 })
    const uncounted = makeAdded(makeValidator(), { owner: malformed.owner, nonce: 1, blockNumber: 7_000 })
    const { state, changes } = await feed(everything, [malformed, next, uncounted])
    expect(changes.map((change) => (change.change === 'skipped' ? change.fault : change.change))).toEqual([
      fault,
      'added',
      'owner_signature',
    ])
    expect(state.malformed[fault]).toBe(fault === 'owner_signature' ? 2 : 1)
    expect(Object.fromEntries(state.nonces)).toEqual({ [toHex(malformed.owner)]: 3 })
    expect(liveRegistrations(state)).toHaveLength(1)
  })

  it.each([
    [1, false],
    [3, true],
    [18, true],
    [19, false],
  ])('that are signed for nonce %i where 2 were counted show that some are missing: %s', async (nonce, isGap) => {
    const nothing = event({ shares: new Uint8Array() })
    const late = makeAdded(makeValidator(), { owner: owner(0), nonce, blockNumber: 6_000 })
    const { state } = await feed(everything, [nothing, nothing, late], undefined, 7_000)
    const gap = { blockNumber: 6_000, logIndex: 0, counted: 2, signed: nonce }
    expect([...state.gaps]).toEqual(isGap ? [[toHex(owner(0)), gap]] : [])
    // The owner's next one that is right says that nothing was.
    const right = makeAdded(makeValidator(), { owner: owner(0), nonce: 3, blockNumber: 8_000 })
    expect((await feed(everything, [right], state)).state.gaps.size).toBe(0)
  })

  it('with none of our operators are not looked at, and use up a nonce', async () => {
    const scope = { ...everything, operators: { ids: [9], publicKeys: [] } }
    const ours = makeAdded(makeValidator([7n, 8n, 9n, 10n]), { owner: owner(0), nonce: 2, blockNumber: 6_000 })
    const { state, changes } = await feed(scope, [
      event({ shares: new Uint8Array() }),
      event({ blockNumber: 5_001 }),
      ours,
    ])
    expect(changes.map(({ change }) => change)).toEqual(['added'])
    expect(state.malformed).toEqual(noFaults)
  })

  it('of operators and logs that cannot be decoded are counted', async () => {
    const event: SsvEvent = {
      kind: 'operator_added',
      blockNumber: 2_000,
      logIndex: 0,
      operatorId: 7,
      publicKey: undefined,
    }
    const range = { fromBlock: contract.block, toBlock: LAST, events: [event], undecodable: 3 }
    const { state } = await applySsvEvents(engine, everything, emptySsvState(everything), range)
    expect(state.malformed).toEqual({ ...noFaults, operator_key: 1, undecodable: 3 })
    expect(state.operators.size).toBe(0)
  })

  it('are not those whose ciphertexts are noise: each is its operator’s own to check', async () => {
    const { state } = await feed(everything, [
      event({}, (shares) => shares.map((byte, position) => (position < 288 ? byte : 0xff))),
    ])
    expect(liveRegistrations(state)).toHaveLength(1)
  })
})

describe('any course of events', () => {
  const validators = [makeValidator(), makeValidator([2n, 5n, 8n, 2n ** 53n - 1n])]
  const step = fc.record({
    act: fc.constantFrom('add', 'malformed', 'remove'),
    by: fc.nat({ max: 1 }),
    of: fc.nat({ max: 1 }),
  })

  it('leaves what the last one of each owner and key says, in any ranges and through a checkpoint', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 8 }), fc.array(fc.nat({ max: 8 })), async (steps, cuts) => {
        const nonces = [0, 0]
        const model = new Map<string, number>()
        const events = steps.map(({ act, by, of }, position): SsvEvent => {
          const validator = validators[of] ?? makeValidator()
          const blockNumber = contract.block + position
          const key = `${by} ${of}`
          if (act === 'remove') {
            model.delete(key)
            return removed(validator, owner(by), blockNumber)
          }
          const nonce = nonces[by] ?? 0
          nonces[by] = nonce + 1
          if (act === 'add') model.set(key, blockNumber)
          const shares = act === 'malformed' ? { shares: (bytes: Uint8Array) => bytes.subarray(1) } : {}
          return makeAdded(validator, { owner: owner(by), nonce, blockNumber, ...shares })
        })
        let state = emptySsvState(everything)
        for (const cut of [...new Set([...cuts, steps.length])].sort((a, b) => a - b)) {
          const toBlock = contract.block + cut
          const part = events.filter(({ blockNumber }) => blockNumber >= state.nextBlock && blockNumber <= toBlock)
          if (toBlock < state.nextBlock) continue
          state = (await feed(everything, part, state, toBlock)).state
          const restored = parseSsvState(everything, ssvStateToJson(everything, state))
          expect(restored).toEqual(state)
          if (typeof restored === 'object') state = restored
        }
        const live = [...state.live.values()].map(({ owner: by, publicKey, blockNumber }) => [
          `${OWNERS.indexOf(OWNERS.find((other) => toHex(other) === toHex(by)) ?? by)} ${validators.findIndex((validator) => toHex(validator.publicKey) === toHex(publicKey))}`,
          blockNumber,
        ])
        expect(Object.fromEntries(live)).toEqual(Object.fromEntries(model))
      }),
      { numRuns: 20 },
    )
  })
})
