/** What a database says of where it is and of which network, and what a start makes of each note; without one, of what is in it. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { depositSigningRoot, exitSigningRoot, withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { findOwnPlace } from '@dvt-relayer/db/queries/attendance/place.ts'
import { storeBeat } from '@dvt-relayer/db/queries/attendance/processes.ts'
import { deleteCheckpoint, findCheckpoint, storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { assertDatabaseNetwork } from '../../../apps/relayer/src/services/database-network.ts'
import { countLeftOnFirst, createPlaceWatch, takePlace } from '../../../apps/relayer/src/services/database-place.ts'
import { openMessages } from '../../support/stages/messages.ts'

const codeOf = (answer: Promise<unknown>) =>
  answer.then(
    (value) => value ?? 'good',
    ({ code, message }) => `${code}: ${message}`,
  )

it('a place is this one where system and number are; elsewhere those that ran count, and nothing is noted while they do', async () => {
  const { db, query } = await openMessages()
  const here = await findOwnPlace(db)
  if (here === undefined) throw new Error('the place is not known')
  const elsewhere = [{ ...here, system: '1' }, { ...here, database: here.database + 1 }, { of: 'another version' }]
  const noted = () => findCheckpoint(db, 'place')
  for (const id of ['one', 'two']) await storeBeat(db, { id, role: 'all', version: '1' })
  // Nothing is known of another one, whoever runs.
  expect(await countLeftOnFirst(db)).toBe(0)
  expect(await takePlace(db, silentLogger)).toBe('new')
  expect([await noted(), await countLeftOnFirst(db), await takePlace(db, silentLogger)]).toEqual([here, 0, 'same'])
  for (const note of elsewhere) {
    await storeCheckpoint(db, 'place', note)
    expect(await countLeftOnFirst(db)).toBe(2)
    expect(await codeOf(takePlace(db, silentLogger))).toMatch(/^DATABASE_COPIED: .* made while 2 relayers ran on that/)
    // Who only looks for the first time has not seen it move.
    await createPlaceWatch({ db, logger: silentLogger })()
    expect(await noted()).toEqual(note)
    expect([await takePlace(db, silentLogger, true), await noted()]).toEqual(['moved', here])
  }
  await storeCheckpoint(db, 'place', elsewhere[0])
  await query(sql`update processes set stopped_at = now()`)
  expect([await countLeftOnFirst(db), await takePlace(db, silentLogger), await noted()]).toEqual([0, 'moved', here])
})

it('a network is ours by chain id and genesis, whatever it was called, and a note that cannot be read is no note of it', async () => {
  const { db } = await openMessages()
  const network = networks.hoodi
  const see = (access: 'read' | 'write' = 'write') => codeOf(assertDatabaseNetwork(db, network, access))
  const noted = () => findCheckpoint(db, 'network')
  const ours = {
    name: 'hoodi',
    chain_id: network.chainId,
    genesis_validators_root: toHex(network.genesisValidatorsRoot),
  }
  expect([await see('read'), await noted()]).toEqual(['good', undefined])
  expect([await see(), await noted()]).toEqual(['good', ours])
  for (const [note, words] of [
    [{ ...ours, name: 'devnet' }, /^good$/],
    [{ ...ours, chain_id: 5 }, /^DATABASE_NETWORK: .* it belongs to hoodi \(chain id 5\)\. Give/],
    [{ ...ours, name: 'x', genesis_validators_root: '0x00' }, /^DATABASE_NETWORK: .* it belongs to x \(chain id/],
    [{ name: 'hoodi', chain_id: network.chainId }, /^DATABASE_NETWORK: .* its note of the network cannot be read/],
  ] as const) {
    await storeCheckpoint(db, 'network', note)
    for (const access of ['read', 'write'] as const) expect(await see(access)).toMatch(words)
    expect(await noted()).toEqual(note)
  }
})

it('without a note it is of the network that its newest exit and its newest deposit were to be signed for', async () => {
  const { db, query, addValidator, addExit, addDeposit } = await openMessages()
  const vault = Buffer.alloc(20, 7)
  const exitRoot = (network: typeof networks.hoodi) => exitSigningRoot(network, { epoch: 0, validatorIndex: 7 })
  const [ofExit, ofDeposit] = [await addValidator(), await addValidator()]
  const depositRoot = (network: typeof networks.hoodi, type: '0x01' | '0x02') =>
    depositSigningRoot(network, {
      publicKey: ofDeposit.publicKey,
      withdrawalCredentials: withdrawalCredentials(type, vault),
      amountGwei: 32_000_000_000n,
    })
  const { hoodi, mainnet } = networks
  const exit = await addExit(ofExit.id, { index: 7 })
  const deposit = await addDeposit(ofDeposit.id, { vault, type: '0x02' })
  const see = async (ofExits: Uint8Array, ofDeposits: Uint8Array, type = '0x02') => {
    await query(
      sql`update messages set signing_root = case when id = ${exit} then ${Buffer.from(ofExits)}::bytea else ${Buffer.from(ofDeposits)}::bytea end`,
    )
    await query(sql`update messages set validator_type = ${type} where id = ${deposit}`)
    const said = await codeOf(assertDatabaseNetwork(db, hoodi, 'write'))
    const isNoted = (await findCheckpoint(db, 'network')) !== undefined
    await deleteCheckpoint(db, 'network')
    return [/the \w+ in it are of another network/.exec(String(said))?.[0] ?? said, isNoted]
  }
  expect(await see(exitRoot(hoodi), depositRoot(hoodi, '0x02'))).toEqual(['good', true])
  expect(await see(exitRoot(hoodi), depositRoot(hoodi, '0x01'), '0x01')).toEqual(['good', true])
  const refused = (kinds: string) => [`the ${kinds} in it are of another network`, false]
  expect(await see(exitRoot(mainnet), depositRoot(hoodi, '0x02'))).toEqual(refused('exits'))
  expect(await see(exitRoot(hoodi), depositRoot(mainnet, '0x02'))).toEqual(refused('deposits'))
})
