/** What consensus nodes say of themselves, and how they say "there is none": believed, passed over, or waited for. */

import { type ConsensusOptions, createConsensusClient } from '@dvt-relayer/chain/consensus/consensus.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { describe, expect, it } from 'vitest'
import { type Beacon, madeUpKey, type StandInStep, startBeacon } from '../../support/chain/beacon.ts'
import { startHttpStandIn } from '../../support/chain/http-stand-in.ts'

const network = networks.hoodi
const INVALID = { code: 'CONSENSUS_INVALID' }

function clientOf(beacons: readonly { url: string }[], options: Partial<ConsensusOptions> = {}) {
  return createConsensusClient({
    endpoints: beacons.map(({ url }) => url),
    timeoutMs: 60_000,
    retryTimeoutMs: 0,
    backoffMs: { first: 1, most: 5 },
    network,
    verifyBatch: async (triples) => triples.map(() => true),
    now: () => 0,
    ...options,
  })
}

const hostOf = ({ url }: Beacon) => new URL(url).host
/** What was asked that needs the head. */
const aboutHead = ({ requests }: Beacon) =>
  requests.filter((request) => !/\/(genesis|spec|syncing)$|\/states\/finalized\//.test(request))

const OUT_OF_STEP: readonly [StandInStep, (host: string) => string][] = [
  [{ is_syncing: true, sync_distance: 1_234 }, (host) => `the consensus node at ${host} is syncing, 1234 slots behind`],
  [{ el_offline: true }, (host) => `the consensus node at ${host} has lost its execution node (el_offline)`],
  [
    { is_optimistic: true },
    (host) => `the consensus node at ${host} has not verified its head (is_optimistic): its execution node is behind`,
  ],
]

describe.each(OUT_OF_STEP)('a node that says %j', (step, words) => {
  it('is passed over for the next one', async () => {
    await using odd = await startBeacon({ network, validators: 16 })
    await using good = await startBeacon({ network, validators: 100 })
    odd.setStep(step)
    const client = clientOf([odd, good])
    expect((await client.nextValidatorIndex()).nextIndex).toBe(100)
    expect((await client.head()).root).toBe(good.headRoot)
    expect((await client.findValidators([madeUpKey(50)])).size).toBe(1)
    expect(await client.findValidatorByIndex(50)).toBeDefined()
    expect((await client.findValidatorsByIndex([50])).size).toBe(1)
    expect((await client.findKnown([madeUpKey(50)])).size).toBe(1)
    expect(aboutHead(odd)).toEqual([])
  })

  it('answers nothing about the head where it is the only one, in words, and does again by itself', async () => {
    await using odd = await startBeacon({ network })
    odd.setStep(step)
    const client = clientOf([odd])
    for (const use of [
      () => client.head(),
      () => client.nextValidatorIndex(),
      () => client.findKnown([madeUpKey(1)]),
      () => client.findValidators([madeUpKey(1)]),
      () => client.findValidatorByIndex(1),
      () => client.findValidatorsByIndex([1]),
    ])
      await expect(use()).rejects.toMatchObject({ ...INVALID, message: words(hostOf(odd)) })
    expect(aboutHead(odd)).toEqual([])
    // Which chain it is on, and what is final, it can say.
    await client.checkChain()
    odd.setStep(undefined)
    expect((await client.nextValidatorIndex()).nextIndex).toBe(100)
  })

  it('and was in step is found out seconds later, or at once when it was away in between', async () => {
    await using odd = await startBeacon({ network })
    let now = 0
    const client = clientOf([odd], { now: () => now })
    await client.head()
    odd.setStep(step)
    now += 60_000
    await expect(client.head()).rejects.toMatchObject(INVALID)
    odd.setStep(undefined)
    await client.head()
    odd.fail('down')
    await expect(client.head()).rejects.toMatchObject({ code: 'HTTP_UNREACHABLE' })
    odd.fail(undefined)
    odd.setStep(step)
    await expect(client.head()).rejects.toMatchObject(INVALID)
  })
})

describe('a node in step', () => {
  it('may be some slots behind', async () => {
    await using beacon = await startBeacon({ network })
    beacon.setStep({ sync_distance: 5 })
    expect((await clientOf([beacon]).nextValidatorIndex()).nextIndex).toBe(100)
  })

  it('is asked whether it is once for many questions at a time', async () => {
    await using beacon = await startBeacon({ network })
    const client = clientOf([beacon])
    await Promise.all(Array.from({ length: 5 }, () => client.findValidators([madeUpKey(1)])))
    beacon.requests.length = 0
    await Promise.all(Array.from({ length: 5 }, () => client.findValidators([madeUpKey(1)])))
    expect(new Set(beacon.requests)).toEqual(new Set(['POST /eth/v1/beacon/states/head/validators']))
  })

  it('that was away when it was asked whether it is, and comes back on another chain, is not believed', async () => {
    await using beacon = await startBeacon({ network })
    let now = 0
    const client = clientOf([beacon], { now: () => now })
    await client.head()
    now += 60_000
    beacon.fail('down')
    beacon.requests.length = 0
    await expect(client.head()).rejects.toMatchObject({ code: 'HTTP_UNREACHABLE' })
    expect(beacon.requests).toEqual(['GET /eth/v1/node/syncing'])
    beacon.fail(undefined)
    beacon.setGenesis(new Uint8Array(32))
    await expect(client.head()).rejects.toMatchObject({ code: 'CHAIN_MISMATCH' })
  })

  it('whose answers are optimistic all the same is passed over', async () => {
    await using odd = await startBeacon({ network })
    await using good = await startBeacon({ network })
    const client = clientOf([odd])
    const both = clientOf([odd, good])
    const uses = [
      () => client.head(),
      () => client.findValidators([madeUpKey(1)]),
      () => client.findValidatorByIndex(1),
    ] as const
    for (const use of uses) {
      odd.setStep(undefined)
      await client.head()
      odd.setStep({ is_optimistic: true })
      await expect(use()).rejects.toMatchObject({
        ...INVALID,
        message: expect.stringContaining('(execution_optimistic)'),
      })
    }
    odd.setStep(undefined)
    await both.head()
    odd.setStep({ is_optimistic: true })
    expect((await both.head()).root).toBe(good.headRoot)
  })
})

describe('a node that cannot be asked whether it is syncing', () => {
  /** The clock of a client that runs so many slots after the node's head. */
  const slotsAfter = (beacon: Beacon, slots: number) => ({
    unixMs: () => (network.genesisTimestamp + (beacon.headSlot + slots) * network.secondsPerSlot) * 1000,
  })
  const refusal = (beacon: Beacon, what: string) => ({
    ...INVALID,
    message: `the consensus node at ${hostOf(beacon)} cannot be asked whether it is syncing (/eth/v1/node/syncing is refused), and its head ${what}`,
  })

  it.each([400, 403, 404, 405, 501])('(%i) is believed while its verified head is of now', async (noSyncing) => {
    await using beacon = await startBeacon({ network, quirks: { noSyncing } })
    for (const slots of [-1, 0, 8]) {
      const client = clientOf([beacon], slotsAfter(beacon, slots))
      expect((await client.nextValidatorIndex()).nextIndex).toBe(100)
      expect((await client.findValidators([madeUpKey(1)])).size).toBe(1)
    }
  })

  it('is passed over where its head does not show it, and waited for where it is the only one', async () => {
    await using odd = await startBeacon({ network, validators: 16, quirks: { noSyncing: 403 } })
    await using good = await startBeacon({ network })
    const cases = [
      [9, {}, "is 9 slots behind this machine's clock"],
      [1_234, {}, "is 1234 slots behind this machine's clock"],
      [-2, {}, "is 2 slots ahead of this machine's clock"],
      [0, { is_optimistic: true }, 'is not said to be verified (execution_optimistic)'],
    ] as const
    for (const [slots, step, words] of cases) {
      odd.setStep(step)
      const options = slotsAfter(odd, slots)
      const alone = clientOf([odd], options)
      await expect(alone.head()).rejects.toMatchObject(refusal(odd, words))
      await expect(alone.findValidators([madeUpKey(1)])).rejects.toMatchObject(refusal(odd, words))
      await expect(alone.nextValidatorIndex()).rejects.toMatchObject(refusal(odd, words))
      expect((await clientOf([odd, good], options).nextValidatorIndex()).nextIndex).toBe(100)
    }
    odd.setStep(undefined)
    odd.quirks.noStanding = true
    const silent = clientOf([odd], slotsAfter(odd, 0))
    await expect(silent.head()).rejects.toMatchObject(refusal(odd, cases[3][2]))
    odd.quirks.noStanding = false
    expect((await silent.nextValidatorIndex()).nextIndex).toBe(16)
  })

  it('is looked at again: one that stands still is believed no more', async () => {
    await using beacon = await startBeacon({ network, quirks: { noSyncing: 403 } })
    let slots = 0
    let now = 0
    const client = clientOf([beacon], { now: () => now, unixMs: () => slotsAfter(beacon, slots).unixMs() })
    await client.head()
    now += 60_000
    slots = 9
    await expect(client.head()).rejects.toMatchObject(refusal(beacon, "is 9 slots behind this machine's clock"))
  })

  it.each([401, 429, 500])('because of a %i is away', async (noSyncing) => {
    await using beacon = await startBeacon({ network, quirks: { noSyncing } })
    const client = clientOf([beacon], slotsAfter(beacon, 0))
    await expect(client.head()).rejects.toMatchObject({ code: 'HTTP_STATUS', status: noSyncing })
  })
})

describe('before finality', () => {
  it.each(['not final', 'unknown'] as const)(
    'a node that says "%s" is passed over, and believed afterwards',
    async (beforeFinality) => {
      await using odd = await startBeacon({ network, quirks: { beforeFinality } })
      await using good = await startBeacon({ network })
      const alone = clientOf([odd])
      await expect(alone.finalizedRoot()).rejects.toMatchObject(INVALID)
      const root = await clientOf([odd, good]).finalizedRoot()
      expect(root).toBe(await clientOf([good]).finalizedRoot())
      odd.advance()
      odd.finalize()
      const final = await alone.finalizedRoot()
      expect((await alone.findFinalized([madeUpKey(1)], final)).size).toBe(1)
    },
  )

  it('an optimistic node’s finalized state is not taken either', async () => {
    await using odd = await startBeacon({ network })
    odd.setStep({ is_optimistic: true })
    await expect(clientOf([odd]).finalizedRoot()).rejects.toMatchObject(INVALID)
  })
})

describe('the network setting', () => {
  it.each(Object.values(networks))('$name is what a node of it says', async (each) => {
    await using beacon = await startBeacon({ network: each })
    await clientOf([beacon], { network: each }).checkChain()
    beacon.setSpec({ DEPOSIT_CONTRACT_ADDRESS: toHex(each.depositContract).toUpperCase().replace('0X', '0x') })
    await clientOf([beacon], { network: each }).checkChain()
  })

  const wrong = Uint8Array.of(4, 0, 0, 0)
  it.each([
    ['capellaForkVersion', wrong, 'CAPELLA_FORK_VERSION is 0x40000910 there and 0x04000000 in our network setting'],
    ['capellaEpoch', 7, 'CAPELLA_FORK_EPOCH is 0 there and 7 in our network setting'],
    ['slotsPerEpoch', 8, 'SLOTS_PER_EPOCH is 32 there and 8 in our network setting'],
    ['secondsPerSlot', 6, 'SECONDS_PER_SLOT is 12 there and 6 in our network setting'],
    ['chainId', 1, 'DEPOSIT_CHAIN_ID is 560048 there and 1 in our network setting'],
    [
      'depositContract',
      new Uint8Array(20),
      `DEPOSIT_CONTRACT_ADDRESS is ${toHex(network.depositContract)} there and 0x${'00'.repeat(20)} in our network setting`,
    ],
    ['genesisTimestamp', 1, 'genesis_time is 1742213400 there and 1 in our network setting'],
  ] as const)('with another %s is refused, at the check and at every use', async (field, value, words) => {
    await using beacon = await startBeacon({ network })
    const client = clientOf([beacon], { network: { ...network, [field]: value } })
    const mismatch = { code: 'CHAIN_MISMATCH', message: expect.stringContaining(words) }
    await expect(client.checkChain()).rejects.toMatchObject(mismatch)
    for (const use of [client.head(), client.nextValidatorIndex(), client.finalizedRoot()])
      await expect(use).rejects.toMatchObject(mismatch)
    expect(aboutHead(beacon)).toEqual([])
  })

  it('is compared with what is there where a node leaves fields out, or gives none', async () => {
    await using beacon = await startBeacon({ network })
    const other = { ...network, capellaForkVersion: wrong }
    // A client that goes by mainnet in the one, and one that has dropped the other.
    beacon.setSpec({ SLOT_DURATION_MS: '7000' })
    await clientOf([beacon]).checkChain()
    beacon.setSpec({ SECONDS_PER_SLOT: undefined, SLOT_DURATION_MS: '7000' })
    await expect(clientOf([beacon]).checkChain()).rejects.toMatchObject({
      code: 'CHAIN_MISMATCH',
      message: expect.stringContaining('SLOT_DURATION_MS is 7000 there and 12000'),
    })
    beacon.setSpec({ CAPELLA_FORK_VERSION: undefined })
    await clientOf([beacon], { network: other }).checkChain()
    await expect(clientOf([beacon], { network: { ...other, capellaEpoch: 7 } }).checkChain()).rejects.toMatchObject({
      code: 'CHAIN_MISMATCH',
    })
  })

  it('is compared with the genesis alone where a proxy keeps the rest back', async () => {
    await using beacon = await startBeacon({ network })
    for (const status of [403, 404, 405, 501]) {
      await using proxy = await startHttpStandIn(async ({ path }) => {
        if (path.endsWith('/spec')) return { status, body: {} }
        return { status: 200, body: await (await fetch(`${beacon.url}${path}`)).json() }
      })
      await clientOf([proxy]).checkChain()
      expect((await clientOf([proxy]).head()).root).toBe(beacon.headRoot)
      const late = { ...network, genesisTimestamp: 1 }
      await expect(clientOf([proxy], { network: late }).checkChain()).rejects.toMatchObject({ code: 'CHAIN_MISMATCH' })
    }
  })

  it('is compared again with the node that takes over', async () => {
    await using first = await startBeacon({ network })
    await using second = await startBeacon({ network })
    const client = clientOf([first, second])
    await client.head()
    second.setSpec({ CAPELLA_FORK_VERSION: '0x03000000' })
    first.fail('down')
    await expect(client.head()).rejects.toMatchObject({
      code: 'CHAIN_MISMATCH',
      message: expect.stringContaining('CAPELLA_FORK_VERSION is 0x03000000 there and 0x40000910'),
    })
    expect(aboutHead(second)).toEqual([])
  })
})

it('a state of a validator that is named anew stops no counting', async () => {
  await using beacon = await startBeacon({ network })
  for (const index of [50, 99]) beacon.setValidator(index, { status: 'pending_minBalance' })
  const client = clientOf([beacon])
  expect((await client.nextValidatorIndex()).nextIndex).toBe(100)
  expect((await client.findValidatorByIndex(50))?.status).toBe('pending_minBalance')
})

describe('"there is none"', () => {
  it.each([400, 404] as const)('said with %i does not stop the counting', async (none) => {
    for (const quirks of [{ none }, { none, noStateRoots: true }, { none, noPost: true }]) {
      await using beacon = await startBeacon({ network, validators: 777, quirks })
      const client = clientOf([beacon])
      expect((await client.nextValidatorIndex()).nextIndex).toBe(777)
      expect(await client.findValidatorByIndex(777)).toBeUndefined()
      expect((await client.findValidatorByIndex(776))?.index).toBe(776)
      expect((await client.findFinalized([madeUpKey(1)], await client.finalizedRoot())).size).toBe(1)
      beacon.advance()
      expect((await client.nextValidatorIndex()).nextIndex).toBe(777)
    }
  })

  it.each([400, 404] as const)(
    'said with %i of a state that goes while it is read: it is read by slot',
    async (none) => {
      for (let goneAt = 4; goneAt < 30; goneAt += 5) {
        await using beacon = await startBeacon({ network, validators: 777, quirks: { none } })
        const client = clientOf([beacon], {
          onResult: () => {
            beacon.quirks.noStateRoots = beacon.requests.length >= goneAt
          },
        })
        expect((await client.nextValidatorIndex()).nextIndex, String(goneAt)).toBe(777)
      }
    },
  )
})

describe('a state that is gone since it was read', () => {
  it('does not keep known keys from being found', async () => {
    await using beacon = await startBeacon({ network })
    const client = clientOf([beacon])
    await client.nextValidatorIndex()
    beacon.quirks.noStateRoots = true
    expect(await client.findKnown([madeUpKey(1), madeUpKey(200)])).toEqual(
      new Map([[toHex(madeUpKey(1)), 'validator']]),
    )
  })
})

describe('a POST that a proxy refuses', () => {
  it.each([400, 403, 404, 405, 411, 413, 415, 501])(
    'with %i is asked by GET, of the same node, at once',
    async (noPost) => {
      await using beacon = await startBeacon({ network, quirks: { noPost } })
      await using idle = await startBeacon({ network })
      const client = clientOf([beacon, idle], { retryTimeoutMs: 600_000, backoffMs: { first: 600_000, most: 600_000 } })
      expect((await client.findValidators([madeUpKey(1), madeUpKey(200)])).size).toBe(1)
      expect((await client.nextValidatorIndex()).nextIndex).toBe(100)
      expect(idle.requests).toEqual([])
    },
  )

  it('is not remembered where GET fails too', async () => {
    await using beacon = await startBeacon({ network })
    const client = clientOf([beacon])
    await client.head()
    beacon.fail({ status: 403 })
    await expect(client.findValidators([madeUpKey(1)])).rejects.toMatchObject({ code: 'HTTP_STATUS' })
    beacon.fail(undefined)
    beacon.requests.length = 0
    expect((await client.findValidators([madeUpKey(1)])).size).toBe(1)
    expect(beacon.requests).toContain('POST /eth/v1/beacon/states/head/validators')
  })
})

/** How a node is odd, each in another way. */
const ODD: readonly [string, (beacon: Beacon) => void][] = [
  ['is syncing', (beacon) => beacon.setStep({ is_syncing: true, sync_distance: 84 })],
  ['is optimistic', (beacon) => beacon.setStep({ is_optimistic: true })],
  ['has lost its execution node', (beacon) => beacon.setStep({ el_offline: true })],
  [
    'has an old head, and does not say that it is syncing',
    (beacon) => {
      beacon.quirks.noSyncing = 403
    },
  ],
  ['is of another chain', (beacon) => beacon.setGenesis(new Uint8Array(32))],
  ['runs with another fork version', (beacon) => beacon.setSpec({ CAPELLA_FORK_VERSION: '0x03000000' })],
  ['answers an error inside a 200', (beacon) => beacon.fail({ status: 200, body: { code: 503, message: 'syncing' } })],
  ['answers HTML', (beacon) => beacon.fail('garbage')],
  ['is away', (beacon) => beacon.fail('down')],
]
const pairs = ODD.flatMap((one, position) => ODD.slice(position + 1).map((other) => [one, other] as const))

describe('two nodes that are both odd', () => {
  function heal(beacon: Beacon): void {
    beacon.setStep(undefined)
    beacon.setGenesis(undefined)
    beacon.setSpec({})
    beacon.fail(undefined)
    beacon.quirks.noSyncing = undefined
  }
  /** Questions, and what is right of a node that has so many validators. */
  const questions = (client: ReturnType<typeof clientOf>) => [
    async () => (await client.nextValidatorIndex()).nextIndex,
    async () => (await client.findValidatorByIndex(150))?.index,
    async () => (await client.findValidators([madeUpKey(150)])).size,
    async () => (await client.head()).slot,
  ]
  const right = (beacon: Beacon) =>
    beacon.validatorCount > 150
      ? [beacon.validatorCount, 150, 1, beacon.headSlot]
      : [100, undefined, 0, beacon.headSlot]

  it('answer nothing, and the first that comes right answers, whichever it is', async () => {
    await using first = await startBeacon({ network, validators: 100 })
    await using second = await startBeacon({ network, validators: 200 })
    second.advance()
    for (const [[one, spoilOne], [other, spoilOther]] of pairs)
      for (const healed of [first, second]) {
        const words = `the first ${one}, the second ${other}`
        heal(first)
        heal(second)
        spoilOne(first)
        spoilOther(second)
        const client = clientOf([first, second])
        for (const question of questions(client)) {
          const answer = await question().then(
            (value) => ({ value }),
            ({ code }) => code,
          )
          expect(answer, words).toMatch(/^(CONSENSUS_INVALID|CHAIN_MISMATCH|HTTP_(UNREACHABLE|INVALID|STATUS))$/)
        }
        heal(healed)
        const answers = await Promise.all(questions(client).map((question) => question()))
        expect(answers, words).toEqual(right(healed))
      }
  })
})
