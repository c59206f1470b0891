/** Which sealed values and small pieces of state are found, replaced and forgotten, row by row. */

import { randomBytes } from 'node:crypto'
import {
  findExitsUnder,
  findLiveExitKeys,
  findMessageKeys,
  findSealedKeys,
  findSealedUnder,
  insertMessageKeys,
  replacePartials,
  replaceSealedKeys,
  replaceSignatures,
} from '@dvt-relayer/db/queries/messages/message-keys.ts'
import {
  deleteCheckpoint,
  ensureCheckpoint,
  ensureSealingCheck,
  findCheckpoint,
  findNewestMessages,
  findSealedPartials,
  findSealedSignatures,
  replaceSealedPartial,
  replaceSealedSignature,
  replaceSealingCheck,
  storeCheckpoint,
  voidSealed,
} from '@dvt-relayer/db/queries/state.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { openMessages } from '../../support/stages/messages.ts'

const bytes = (text: string) => Buffer.from(text)

/** Messages with a sealed signature and sealed partial signatures of share indexes 1 and 2, with digests of their names. */
async function openSealed() {
  const store = await openMessages()
  const { query, addValidator, addExit, addDeposit } = store
  const addPartial = (id: number, shareIndex: number, digest: string, sealed: string | null, state = 'unverified') =>
    query(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
              values (${id}, ${shareIndex}, ${bytes(digest)}, ${sealed === null ? null : bytes(sealed)}, ${state})`)
  const add = async (kind: 'exit' | 'deposit', { state = 'ready', signature = 'full' as string | null } = {}) => {
    const validator = await addValidator(Buffer.alloc(20, 7))
    const id = await (kind === 'exit'
      ? addExit(validator.id)
      : addDeposit(validator.id, { vault: Buffer.alloc(20, 7) }))
    await query(
      sql`update messages set signature = ${signature === null ? null : bytes(signature)}, state = ${state} where id = ${id}`,
    )
    return id
  }
  const signatures = async () =>
    (await query<{ signature: Buffer | null }>(sql`select signature from messages order by id`)).map(({ signature }) =>
      signature?.toString(),
    )
  const partials = async () =>
    (
      await query<{ id: number; index: number; digest: Buffer; sealed: Buffer | null }>(
        sql`select message_id::int as id, share_index::int as index, digest, sealed from partial_signatures order by 1, 2, 3`,
      )
    ).map(({ id, index, digest, sealed }) => [id, index, digest.toString(), sealed?.toString()])
  return { ...store, add, addPartial, signatures, partials }
}

it('keys of exits are stored, listed in order and replaced where they are still those that were read', async () => {
  const { db, query, add } = await openSealed()
  const ids: number[] = []
  for (let n = 0; n < 4; n++) ids.push(await add('exit', { state: n === 3 ? 'expired' : 'ready' }))
  const deposit = await add('deposit')
  const [a = 0, b = 0, c = 0] = ids
  const key = (messageId: number, text: string) => ({ messageId, sealed: bytes(text) })
  const keys = async () =>
    (await findSealedKeys(db, 0, 9)).map(({ messageId, sealed }) => [messageId, sealed.toString()])
  await insertMessageKeys(db, [])
  await insertMessageKeys(db, [key(a, 'a')])
  await insertMessageKeys(db, [key(c, 'c'), key(b, 'b')])
  expect(await keys()).toEqual([
    [a, 'a'],
    [b, 'b'],
    [c, 'c'],
  ])
  expect(await findSealedKeys(db, a, 1)).toEqual([key(b, 'b')])
  expect(await findMessageKeys(db, [b, deposit])).toEqual([key(b, 'b')])
  await query(sql`delete from message_keys where message_id = ${c}`)
  const live = (await findLiveExitKeys(db, [...ids, deposit])).sort((x, y) => x.messageId - y.messageId)
  expect(live).toEqual([key(a, 'a'), key(b, 'b'), { messageId: c, sealed: null }])
  expect(await findLiveExitKeys(db, [b])).toEqual([key(b, 'b')])

  const change = (messageId: number, from: string, to: string) => ({ messageId, from: bytes(from), to: bytes(to) })
  await replaceSealedKeys(db, [])
  await replaceSealedKeys(db, [change(a, 'a', 'A')])
  expect(await keys()).toEqual([
    [a, 'A'],
    [b, 'b'],
  ])
  // The first was replaced by somebody else meanwhile, the third was erased, and what b is to become is of its own row.
  await replaceSealedKeys(db, [change(a, 'b', 'x'), change(c, 'c', 'C'), change(b, 'b', 'B')])
  expect(await keys()).toEqual([
    [a, 'A'],
    [b, 'B'],
  ])
})

it('what of exits is sealed under a key is found by the whole id of the key, and nothing of deposits', async () => {
  const { db, add, addPartial } = await openSealed()
  const [full, partial, other, close, deposit] = [
    await add('exit', { signature: 'key1.full' }),
    await add('exit', { state: 'collecting', signature: null }),
    await add('exit', { signature: 'key3.full' }),
    // Not an id of a key, but the beginning of one, or what follows.
    await add('exit', { signature: 'key' }),
    await add('deposit', { signature: 'key1.full' }),
  ]
  await addPartial(partial, 1, 'd', 'key2.one')
  await addPartial(partial, 2, 'e', 'key3.two')
  await addPartial(partial, 3, 'f', null, 'rejected')
  await addPartial(other, 1, 'd', '.key1')
  await addPartial(deposit, 1, 'd', 'key2.one')
  const keys = [bytes('key1'), bytes('key2')]
  expect(await findExitsUnder(db, keys, 0, 9)).toEqual([full, partial])
  expect(await findExitsUnder(db, keys, 0, 1)).toEqual([full])
  expect(await findExitsUnder(db, keys, full, 9)).toEqual([partial])
  expect(await findExitsUnder(db, keys.slice(1), 0, 9)).toEqual([partial])
  const found = [
    { messageId: full, shareIndex: null, digest: null, sealed: bytes('key1.full') },
    { messageId: partial, shareIndex: 1, digest: bytes('d'), sealed: bytes('key2.one') },
  ]
  expect(await findSealedUnder(db, keys, [full, partial, other, close])).toEqual(found)
  expect(await findSealedUnder(db, keys, [full, other])).toEqual(found.slice(0, 1))
  expect(await findSealedUnder(db, keys, [partial, other])).toEqual(found.slice(1))
})

it('sealed signatures are replaced in their places, and those that are gone stay away', async () => {
  const { db, add, addPartial, signatures, partials } = await openSealed()
  const [a, b, gone] = [await add('exit'), await add('exit'), await add('exit', { state: 'erased', signature: null })]
  await replaceSignatures(db, [])
  await replaceSignatures(db, [{ messageId: a, sealed: bytes('A') }])
  expect(await signatures()).toEqual(['A', 'full', undefined])
  const all = [gone, b, a].map((messageId) => ({ messageId, sealed: bytes(`of ${messageId}`) }))
  await replaceSignatures(db, all)
  expect(await signatures()).toEqual([`of ${a}`, `of ${b}`, undefined])

  for (const [id, share, digest, sealed] of [
    [a, 1, 'd', 'one'],
    [a, 1, 'e', 'two'],
    [a, 2, 'd', 'three'],
    [b, 1, 'd', 'four'],
  ] as const)
    await addPartial(id, share, digest, sealed)
  await addPartial(b, 2, 'd', null, 'rejected')
  const change = (messageId: number, shareIndex: number, digest: string, to: string) => ({
    messageId,
    shareIndex,
    digest: bytes(digest),
    sealed: bytes(to),
  })
  await replacePartials(db, [])
  await replacePartials(db, [change(a, 1, 'd', 'ONE')])
  const rows = [
    [a, 1, 'd', 'ONE'],
    [a, 1, 'e', 'two'],
    [a, 2, 'd', 'three'],
    [b, 1, 'd', 'four'],
    [b, 2, 'd', undefined],
  ]
  expect(await partials()).toEqual(rows)
  await replacePartials(db, [change(b, 2, 'd', 'back'), change(a, 2, 'd', 'THREE'), change(b, 1, 'd', 'FOUR')])
  expect(await partials()).toEqual([rows[0], rows[1], [a, 2, 'd', 'THREE'], [b, 1, 'd', 'FOUR'], rows[4]])
})

it('sealed values of deposits are listed message by message, and replaced where they are still those that were read', async () => {
  const { db, add, addPartial, signatures, partials } = await openSealed()
  const [a, exit, b, bare, c] = [
    await add('deposit', { signature: 'a' }),
    await add('exit', { signature: 'x' }),
    await add('deposit', { signature: 'b' }),
    await add('deposit', { state: 'collecting', signature: null }),
    await add('deposit', { signature: 'c' }),
  ]
  const full = [a, b, c].map((id, position) => ({ id, signature: bytes('abc'[position] ?? '') }))
  expect(await findSealedSignatures(db, 0, 9)).toEqual(full)
  expect(await findSealedSignatures(db, a, 1)).toEqual(full.slice(1, 2))
  await replaceSealedSignature(db, a, bytes('other'), bytes('B'))
  await replaceSealedSignature(db, b, bytes('b'), bytes('B'))
  expect(await signatures()).toEqual(['a', 'x', 'B', undefined, 'c'])

  const sealed: [id: number, share: number, digest: string, text: string][] = [
    [a, 1, 'd', 'a1'],
    [a, 2, 'd', 'a2'],
    [b, 1, 'd', 'b1'],
    [b, 3, 'd', 'b3'],
    [c, 1, 'd', 'c1'],
  ]
  for (const [id, share, digest, text] of [...sealed].reverse()) await addPartial(id, share, digest, text)
  await addPartial(exit, 1, 'd', 'x1')
  await addPartial(a, 3, 'd', null, 'rejected')
  const row = (position: number) => {
    const [messageId, shareIndex, digest, text] = sealed[position] ?? [0, 0, '', '']
    return { messageId, shareIndex, digest: bytes(digest), sealed: bytes(text) }
  }
  expect(await findSealedPartials(db, 0, 9)).toEqual([0, 1, 2, 3, 4].map(row))
  expect(await findSealedPartials(db, 0, 2)).toEqual([0, 1, 2, 3].map(row))
  expect(await findSealedPartials(db, a, 1)).toEqual([2, 3].map(row))
  expect(await findSealedPartials(db, bare, 9)).toEqual([row(4)])
  await replaceSealedPartial(db, { messageId: a, shareIndex: 1, from: bytes('a2') }, bytes('A'))
  await replaceSealedPartial(db, { messageId: b, shareIndex: 3, from: bytes('b3') }, bytes('B'))
  expect((await partials()).map(([, , , text]) => text)).toEqual(['a1', 'a2', undefined, 'x1', 'b1', 'B', 'c1'])
})

it('of each kind the newest message is told, whole', async () => {
  const { db, query, addValidator, addExit, addDeposit } = await openSealed()
  expect(await findNewestMessages(db)).toEqual([])
  const expected: Record<string, unknown>[] = []
  for (const last of [false, true]) {
    const [ofExit, ofDeposit] = [await addValidator(), await addValidator()]
    const exit = await addExit(ofExit.id, { index: last ? 8 : 7 })
    const vault = randomBytes(20)
    const deposit = await addDeposit(ofDeposit.id, { vault, gwei: last ? 5 : 6, type: '0x02' })
    const rootOf = async (id: number) =>
      (await query<{ root: Buffer }>(sql`select signing_root as root from messages where id = ${id}`))[0]?.root
    if (!last) continue
    const none = { epoch: null, validatorIndex: null, vault: null, amountGwei: null, validatorType: null }
    const exitKey = { kind: 'exit', publicKey: Buffer.from(ofExit.publicKey), signingRoot: await rootOf(exit) }
    const depositKey = {
      kind: 'deposit',
      publicKey: Buffer.from(ofDeposit.publicKey),
      signingRoot: await rootOf(deposit),
    }
    expected.push({ ...none, ...exitKey, epoch: 0, validatorIndex: 8 })
    expected.push({ ...none, ...depositKey, vault, amountGwei: 5, validatorType: '0x02' })
  }
  const found = new Map((await findNewestMessages(db)).map((row) => [row.kind, row]))
  expect([found.get('exit'), found.get('deposit'), found.size]).toEqual([...expected, 2])
})

it('a checkpoint is put there once, changed and forgotten by its name', async () => {
  const { db } = await openMessages()
  expect(await ensureCheckpoint(db, 'a', { at: 1 })).toEqual({ at: 1 })
  expect(await ensureCheckpoint(db, 'a', { at: 2 })).toEqual({ at: 1 })
  expect(await findCheckpoint(db, 'b')).toBeUndefined()
  await storeCheckpoint(db, 'a', { at: 3 })
  await storeCheckpoint(db, 'b', { at: 4 })
  expect([await findCheckpoint(db, 'a'), await findCheckpoint(db, 'b')]).toEqual([{ at: 3 }, { at: 4 }])
  await deleteCheckpoint(db, 'a')
  expect([await findCheckpoint(db, 'a'), await findCheckpoint(db, 'b')]).toEqual([undefined, { at: 4 }])
})

it('the check value of the sealing key is one for all, until it is replaced', async () => {
  const { db } = await openMessages()
  expect(await ensureSealingCheck(db, bytes('one'))).toEqual(bytes('one'))
  expect(await ensureSealingCheck(db, bytes('two'))).toEqual(bytes('one'))
  await replaceSealingCheck(db, bytes('three'))
  expect(await ensureSealingCheck(db, bytes('four'))).toEqual(bytes('three'))
})

it('what was sealed is forgotten whole: what was proven binds, what was not judged holds, and all is collected again', async () => {
  const { db, query, add, addPartial } = await openSealed()
  const made = {
    exit: await add('exit'),
    ready: await add('deposit'),
    unjudged: await add('deposit', { state: 'collecting', signature: null }),
    proven: await add('deposit', { state: 'expired', signature: null }),
    expired: await add('exit', { state: 'expired' }),
    superseded: await add('deposit', { state: 'superseded' }),
    erased: await add('exit', { state: 'erased', signature: null }),
  }
  await query(sql`update messages set ready_at = now(), queued_at = now()`)
  // Written last, it stands last: what is voided is told in the order of ids all the same.
  await query(sql`update messages set ready_at = now() where id = ${made.exit}`)
  for (const [id, state] of [
    [made.exit, 'unverified'],
    [made.unjudged, 'unverified'],
    [made.proven, 'verified'],
  ] as const) {
    await addPartial(id, 1, 'd', 's', state)
    await query(sql`insert into message_keys (message_id, sealed) values (${id}, ${bytes('k')})`)
  }
  await ensureSealingCheck(db, bytes('check'))
  const locked = async () =>
    query(
      sql`select m.id::int from validators v join messages m on m.validator_id = v.id order by m.id for no key update of v skip locked`,
    )
  const deposits = [made.ready, made.unjudged, made.proven, made.superseded]
  const done = await db.transaction(async (tx) => {
    const voided = await voidSealed(tx)
    // Whoever gives one of these validators to a vault waits; nobody else does.
    expect((await locked()).map((row) => Number(row['id' as never]))).toEqual([made.exit, made.expired, made.erased])
    return voided
  })
  expect(deposits).toHaveLength(4)
  const ids = [made.exit, made.ready, made.unjudged, made.expired, made.superseded]
  expect(done).toEqual({ messages: 5, ids })
  const rows = await query<{ state: string; none: boolean }>(
    sql`select state, num_nonnulls(signature, ready_at, queued_at) = 0 as none from messages order by id`,
  )
  expect(rows.map(({ state, none }) => [state, none])).toEqual([
    ['collecting', true],
    ['collecting', true],
    ['collecting', true],
    ['expired', false],
    ['expired', true],
    ['superseded', true],
    ['erased', false],
  ])
  const of = async (table: string) =>
    (await query<{ id: number }>(sql`select m.id::int from messages m join ${sql.raw(table)} order by 1`)).map(
      ({ id }) => id,
    )
  expect(await of('deposit_bindings b on b.validator_id = m.validator_id')).toEqual([made.ready, made.proven])
  expect(await of('validators v on v.id = m.validator_id and v.is_held')).toEqual([made.unjudged])
  for (const table of ['partial_signatures', 'message_keys', 'sealing_checks'])
    expect(await query(sql`select from ${sql.raw(table)}`)).toEqual([])
})
