import { onAccountOf } from '@dvt-relayer/common/account.ts'
import { addressOfPublicKey, checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { afterAll, expect, it, onTestFinished, vi } from 'vitest'
import { countByRound } from '../../../../../test/support/event-loop.ts'
import { createOracleFetch } from './fetch.ts'

/** Types of PostgreSQL by number. */
const [BYTEA, BIGINT, TEXT, BOOLEAN] = [17, 20, 25, 16]

const counted = countByRound()
afterAll(() => counted.end())

const vault = Buffer.alloc(20, 0xab)
const COLUMNS: readonly [string, number, unknown][] = [
  ['revision', BIGINT, 7],
  ['message_id', BIGINT, 8],
  ['oracle_set_id', BIGINT, 9],
  ['public_key', BYTEA, Buffer.alloc(48, 1)],
  ['validator_index', BIGINT, 5],
  ['epoch', BIGINT, 0],
  ['vault', BYTEA, vault],
  ['public_key_share', BYTEA, Buffer.alloc(48, 2)],
  ['ciphertext', BYTEA, Buffer.alloc(193, 3)],
  ['cid', TEXT, 'cid'],
  ['threshold', BIGINT, 2],
  ['oracles', BIGINT, 3],
  ['position', BIGINT, 1],
  ['block_number', BIGINT, 4],
  ['is_current', BOOLEAN, true],
  ['receipt', BYTEA, Buffer.alloc(32, 6)],
  ['created_at_seconds', BIGINT, 10],
]
const ROW = Object.fromEntries(COLUMNS.map(([name, , value]) => [name, value]))
const FIELDS = COLUMNS.map(([name, dataTypeID]) => ({ name, dataTypeID }))

it('makes a long page in pieces, between which others have the event loop', async () => {
  let foundIn = 0
  const db = {
    select: () => ({ from: () => ({ where: () => ({ orderBy: async () => [] }) }) }),
    execute: async () => {
      foundIn = counted.rounds()
      return { fields: FIELDS, rows: Array(1000).fill(ROW) }
    },
  }
  const request = { oracle: new Uint8Array(20), vault: undefined, publicKey: undefined, after: undefined, limit: 1000 }
  const page = await createOracleFetch({ db: db as never }).fetch(request, 0, new AbortController().signal)
  expect(page.items).toHaveLength(1000)
  expect(page.items.at(-1)).toMatchObject({ vault: checksumAddress(vault), is_outdated: false })
  expect(page.cursor).toEqual({ revision: 7, messageId: 8, oracleSetId: 9 })
  expect(counted.rounds() - foundIn).toBeGreaterThanOrEqual(10)
})

/** The lists of numbers in a statement: oracle sets and places in them. */
function listsOf(part: unknown): number[][] {
  if (Array.isArray(part))
    return part.length > 0 && part.every((one) => typeof one === 'number') ? [part] : part.flatMap(listsOf)
  if (typeof part !== 'object' || part === null) return []
  const { queryChunks, value } = part as { queryChunks?: unknown; value?: unknown }
  return listsOf(queryChunks ?? value)
}

const KEYS = [1, 2, 3].map((byte) => Buffer.alloc(65, byte))
const [FIRST, SECOND, STRANGER] = KEYS.map(addressOfPublicKey) as [Uint8Array, Uint8Array, Uint8Array]
/** More looks than any of these tests needs. */
const MOST_LOOKS = 100
const MOST_READS = 1_000

/** The service over rows, oracle sets and a last revision that the test says; its clock is the test's. */
function setUp() {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
  let reads = 0
  const now = vi.spyOn(performance, 'now').mockImplementation(() => {
    if (++reads > MOST_READS) throw new Error('looked at the clock for too long')
    return Date.now()
  })
  onTestFinished(() => {
    now.mockRestore()
    vi.useRealTimers()
  })
  const world = {
    sets: [{ id: 1, publicKeys: Buffer.concat(KEYS.slice(0, 2)) }],
    rows: [] as object[],
    lastRevision: 5,
    /** Called at each look. */
    onLook: undefined as (() => unknown) | undefined,
  }
  const [looks, setsRead]: [number[][][], number[]] = [[], []]
  const orderBy = async () => {
    setsRead.push(looks.length)
    return world.sets
  }
  const execute = async (statement: unknown) => {
    if (JSON.stringify(statement).includes('last_value'))
      return { fields: [{ name: 'revision', dataTypeID: BIGINT }], rows: [{ revision: world.lastRevision }] }
    looks.push(listsOf(statement))
    if (looks.length > MOST_LOOKS) throw new Error('looked for too long')
    const { rows } = world
    await world.onLook?.()
    return { fields: FIELDS, rows }
  }
  const service = createOracleFetch({
    db: { execute, select: () => ({ from: () => ({ where: () => ({ orderBy }) }) }) } as never,
  })
  const stop = new AbortController()
  const fetch = (waitMs: number, more: { after?: object; signal?: AbortSignal; oracle?: Uint8Array } = {}) =>
    service.fetch(
      {
        ...{ oracle: more.oracle ?? FIRST, vault: undefined, publicKey: undefined, limit: 9 },
        after: more.after as never,
      },
      waitMs,
      more.signal ?? stop.signal,
    )
  /** Whether it has been answered after some time. */
  const isAnswered = async (page: Promise<unknown>, ms: number) => {
    let isDone = false
    void page.then(() => {
      isDone = true
    })
    await vi.advanceTimersByTimeAsync(ms)
    return isDone
  }
  return { world, service, stop, fetch, isAnswered, looks, setsRead, takeLooks: () => looks.splice(0).length }
}

it('begins where it is told, and at the start without a cursor or with one of the future', async () => {
  const { fetch, world } = setUp()
  const [start, at] = [
    { revision: 0, messageId: 0, oracleSetId: 0 },
    { revision: 5, messageId: 3, oracleSetId: 2 },
  ]
  expect(await fetch(0)).toEqual({ items: [], cursor: start })
  expect(await fetch(0, { after: at })).toEqual({ items: [], cursor: at })
  expect(await fetch(0, { after: { ...at, revision: 6 } })).toEqual({ items: [], cursor: start })
  world.rows = [ROW, { ...ROW, revision: 8, vault: null, is_current: false }]
  const page = await fetch(0, { after: at })
  expect(page.cursor).toEqual({ revision: 8, messageId: 8, oracleSetId: 9 })
  expect(page.items).toMatchObject([
    { vault: checksumAddress(vault), is_outdated: false },
    { vault: null, is_outdated: true },
  ])
})

it('knows an oracle by its place in each set, each set once, and asks no more about one that is known', async () => {
  const { service, fetch, world, looks, setsRead } = setUp()
  expect(await Promise.all([FIRST, STRANGER, SECOND].map(service.isKnown))).toEqual([true, false, true])
  world.sets = [{ id: 1, publicKeys: world.sets[0]?.publicKeys ?? Buffer.alloc(0) }]
  world.sets.push({ id: 2, publicKeys: Buffer.concat([KEYS[1] ?? '', KEYS[2] ?? ''] as Buffer[]) })
  await Promise.all([fetch(0, { oracle: SECOND }), fetch(0, { oracle: FIRST })])
  await fetch(0, { oracle: SECOND })
  expect(looks).toEqual([
    [
      [1, 2],
      [2, 1],
    ],
    [[1], [1]],
    [
      [1, 2],
      [2, 1],
    ],
  ])
  const before = setsRead.length
  expect(await service.isKnown(STRANGER)).toBe(true)
  expect(setsRead).toHaveLength(before)
})

it('answers at the end of its time, having looked once where nothing changed', async () => {
  const { fetch, isAnswered, takeLooks } = setUp()
  expect(await isAnswered(fetch(0), 0)).toBe(true)
  expect(takeLooks()).toBe(1)
  const page = fetch(1_000)
  expect(await isAnswered(page, 999)).toBe(false)
  expect(takeLooks()).toBe(1)
  expect(await isAnswered(page, 1)).toBe(true)
  expect(await page).toMatchObject({ items: [] })
})

it('answers at once with what there is', async () => {
  const { fetch, isAnswered, world, takeLooks } = setUp()
  world.rows = [ROW]
  const page = fetch(10_000)
  expect([await isAnswered(page, 0), takeLooks(), (await page).items.length]).toEqual([true, 1, 1])
})

it('looks again once for changes that come together, and answers with what they brought', async () => {
  const { service, fetch, isAnswered, world, takeLooks } = setUp()
  const page = fetch(10_000)
  await vi.advanceTimersByTimeAsync(50)
  expect(takeLooks()).toBe(1)
  for (let change = 0; change < 3; change++) {
    service.notified()
    expect(await isAnswered(page, 60)).toBe(false)
  }
  expect(takeLooks()).toBe(0)
  world.rows = [ROW]
  expect(await isAnswered(page, 140)).toBe(true)
  expect([takeLooks(), (await page).items]).toEqual([1, [expect.objectContaining({ validator_index: 5 })]])
})

it('looks again where something came while it looked', async () => {
  const { service, fetch, isAnswered, world } = setUp()
  world.onLook = () => {
    world.onLook = undefined
    world.rows = [ROW]
    service.notified()
  }
  const page = fetch(10_000)
  expect(await isAnswered(page, 300)).toBe(true)
  expect((await page).items).toHaveLength(1)
})

it('answers whoever hangs up, without another look, and everybody at a stop', async () => {
  const { service, stop, fetch, isAnswered, takeLooks } = setUp()
  const page = fetch(10_000)
  expect(await isAnswered(page, 10)).toBe(false)
  stop.abort()
  expect(await isAnswered(page, 0)).toBe(true)
  expect(takeLooks()).toBe(1)
  expect(await isAnswered(fetch(10_000), 0)).toBe(true)
  const { signal } = new AbortController()
  const other = fetch(10_000, { signal })
  expect(await isAnswered(other, 10)).toBe(false)
  service.close()
  expect(await isAnswered(other, 0)).toBe(true)
  expect(await isAnswered(fetch(10_000, { signal }), 0)).toBe(true)
})

it('keeps sixteen requests of one oracle waiting, of whom those that were answered count no more', async () => {
  const { fetch, isAnswered } = setUp()
  const stops: AbortController[] = []
  const wait = (oracle = FIRST) => {
    const stop = new AbortController()
    stops.push(stop)
    return fetch(60_000, { signal: stop.signal, oracle })
  }
  /** How many more wait, before one is answered at once. */
  const countFree = async () => {
    for (let count = 0; count < 20; count++) if (await isAnswered(wait(), 0)) return count
    return 20
  }
  const first = wait()
  expect(await isAnswered(first, 0)).toBe(false)
  expect(await countFree()).toBe(15)
  expect(await isAnswered(wait(SECOND), 0)).toBe(false)
  // All but one of them are answered, then all.
  const end = async (some: AbortController[]) => {
    for (const stop of some) stop.abort()
    await vi.advanceTimersByTimeAsync(0)
  }
  await end(stops.splice(1))
  expect(await isAnswered(first, 0)).toBe(false)
  expect(await countFree()).toBe(15)
  await end(stops.splice(0))
  expect(await countFree()).toBe(16)
  await end(stops.splice(0, 1))
  expect(await countFree()).toBe(1)
  await end(stops.splice(0))
})

it('lets two requests of one caller look again at once, and others beside them', async () => {
  const { service, stop, fetch, world, takeLooks } = setUp()
  const gate = Promise.withResolvers<void>()
  const as = (name: string) => onAccountOf({ group: 'oracle', name }, () => fetch(60_000))
  const pages = [as('a'), as('a'), as('a'), as('b')]
  await vi.advanceTimersByTimeAsync(0)
  expect(takeLooks()).toBe(4)
  world.onLook = () => gate.promise
  service.notified()
  await vi.advanceTimersByTimeAsync(300)
  expect(takeLooks()).toBe(3)
  gate.resolve()
  await vi.advanceTimersByTimeAsync(0)
  expect(takeLooks()).toBe(1)
  stop.abort()
  expect(await Promise.all(pages)).toHaveLength(4)
})
