/** Clients that want to do harm: what they send costs the relayer little, and the others nothing. */

import { writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { createLogger, silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { createSealer } from '@dvt-relayer/crypto/sealing.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { PATIENCE_MS } from '../../../apps/relayer/src/context.ts'
import { createEvents } from '../../../apps/relayer/src/events.ts'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import { createSealing } from '../../../apps/relayer/src/services/sealing/message-seals.ts'
import { createSubmission } from '../../../apps/relayer/src/services/signatures/submit.ts'
import { createVerification } from '../../../apps/relayer/src/services/signatures/verify.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import type { MadeCluster } from '../../support/keys/make-cluster.ts'
import { makeCluster } from '../../support/keys/make-cluster.ts'
import {
  engine,
  getExits,
  partialExit,
  postShares,
  postValidators,
  publicKeysOf,
  sidecarRound,
} from '../../support/world/nodes.ts'
import type { World } from '../../support/world/world.ts'
import { ask, eventually, hex, startWorld } from '../../support/world/world.ts'

let world: World
let cluster: MadeCluster
let taken = 0
/** Validators are taken in turn, so that tests do not meet. */
const take = (count: number) => {
  taken += count
  return cluster.validators.slice(taken - count, taken)
}
const threshold = { SIGNATURE_THRESHOLD: '3' }
const exitOf = async (url: string, key: string) => (await getExits(url)).find((exit) => exit.public_key === key)
const garbage = (n: number) => engine.sign(new Uint8Array(32).fill(1).with(31, n), new Uint8Array(32).fill(7))

const query: World['query'] = (text, values) => world.query(text, values)
const bytea = (keys: readonly string[]) => keys.map((key) => Buffer.from(fromHex(key)))

beforeAll(async () => {
  world = await startWorld()
  cluster = await makeCluster({
    dir: world.dir,
    nodes: 4,
    threshold: 3,
    validators: 12,
    network: world.network,
    withdrawalAddress: new Uint8Array(20).fill(0x8a),
    feeRecipient: new Uint8Array(20).fill(1),
  })
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
})

describe('a flood', () => {
  it('at a share index never costs it the right partial signature that is being verified', async () => {
    await using relayer = await world.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile })
    const [validator] = take(1) as [MadeCluster['validators'][number]]
    const key = hex(validator.publicKey)
    await postValidators(relayer.url, [key])
    const index = (await exitOf(relayer.url, key))?.validator_index ?? 0
    const { config } = readConfig(world.environment({ CLUSTER_LOCK_FILES: cluster.lockFile }))
    await using db = await connectDatabase({ url: world.databaseUrl, logger: silentLogger })
    const gate = Promise.withResolvers<void>()
    const context = {
      config,
      db,
      queue: { add: async () => 'added' } as never,
      crypto: {
        verify: (triples: Parameters<typeof engine.verifyBatch>[0]) =>
          gate.promise.then(() => engine.verifyBatch(triples)),
        areSignatures: async (all: readonly Uint8Array[]) => all.map(() => true),
      } as never,
      sealing: createSealing(
        createSealer(fromHex(world.environment()['SEALING_KEY'] ?? '')),
        new Uint8Array(32),
        silentLogger,
      ),
      events: createEvents(silentLogger),
      announced: () => {},
      patienceMs: PATIENCE_MS,
      logger: silentLogger,
    }
    const signatures = createSubmission({ ...context, verification: createVerification(context) })
    const stored = async () =>
      Number(
        (
          await query(
            `select count(*) from partial_signatures p join messages m on m.id = p.message_id
                           join validators v on v.id = m.validator_id where v.public_key = $1`,
            bytea([key]),
          )
        )[0]?.['count'],
      )
    const right = { public_key: key, exit_signature: partialExit(world.network, validator, 1, index) }
    const posts = [signatures.submit(1, [right])]
    await eventually('it is stored', async () => ((await stored()) === 1 ? true : undefined))
    for (let n = 1; n <= 4; n++) {
      posts.push(signatures.submit(1, [{ public_key: key, exit_signature: hex(garbage(n)) }]))
      await eventually('so is the flood', async () => ((await stored()) === Math.min(4, n + 1) ? true : undefined))
    }
    gate.resolve()
    expect((await Promise.allSettled(posts)).map(({ status }) => status)).toEqual([
      'fulfilled',
      ...Array.from({ length: 4 }, () => 'rejected'),
    ])
    expect(await exitOf(relayer.url, key)).toMatchObject({ share_indexes_ready: [1], share_indexes_rejected: [] })
  })

  it('of repeated posts in any order, through two relayers, is answered', async () => {
    await using a = await world.startRelayer(threshold)
    await using b = await world.startRelayer(threshold)
    const validators = createTestKeys(150, { nodes: 4, threshold: 3 })
    const keys = publicKeysOf(validators)
    await postValidators(a.url, keys)
    const indexes = new Map((await getExits(a.url)).map((exit) => [exit.public_key, exit.validator_index]))
    const shares = validators.map((validator) => {
      const key = hex(validator.publicKey)
      return { public_key: key, exit_signature: partialExit(world.network, validator, 1, indexes.get(key) ?? 0) }
    })
    await postShares(a.url, 1, shares)
    for (let round = 0; round < 6; round++) {
      await query(`update partial_signatures set seen_at = now() - interval '1 minute'`)
      const answers = await Promise.all(
        [a, b, a, b].map(({ url }, position) => postShares(url, 1, position % 2 === 0 ? shares : shares.toReversed())),
      )
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    }
    await query(`update messages set state = 'superseded' where state <> 'ready'`)
  })
})

describe('bodies', () => {
  it.each([
    ['/exit-signature', `{"share_index":1,"shares":[${'{},'.repeat(3_000_000)}{}]}`],
    ['/signatures', `{"share_index":1,"shares":[${'"",'.repeat(3_000_000)}""]}`],
    ['/signatures', `{"share_index":${'['.repeat(3_000_000)}${']'.repeat(3_000_000)}}`],
  ])('of more values than any request needs are refused before they are parsed: %s', async (path, body) => {
    await using relayer = await world.startRelayer(threshold)
    const answer = await ask(relayer.url, path, { body, headers: { 'content-type': 'application/json' } })
    expect(answer).toMatchObject({
      status: 422,
      json: { code: 'BODY_INVALID', message: expect.stringContaining('400000 values') },
    })
  })

  it('a wrong item far down a list is refused all the same', async () => {
    await using relayer = await world.startRelayer(threshold)
    const shares = [...Array.from({ length: 1500 }, () => ({ public_key: '', exit_signature: '' })), { public_key: 1 }]
    expect(await ask(relayer.url, '/exit-signature', { body: { share_index: 1, shares } })).toMatchObject({
      status: 422,
      json: { code: 'BODY_INVALID' },
    })
  })

  it('sent where nothing is, without a token, are not read and hold no place', async () => {
    const node = createToken('node', 'sidecar', '*')
    const file = join(world.dir, 'tokens')
    await writeFile(file, node.line)
    await using relayer = await world.startRelayer({ ...threshold, AUTH_TOKENS_FILE: file, MAX_LARGE_BODIES: '1' })
    const { port, hostname } = new URL(relayer.url)
    const socket = createConnection(Number(port), hostname)
    const answered = new Promise<string>((resolve) => socket.once('data', (chunk) => resolve(String(chunk))))
    socket.write(
      'POST /nowhere HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9000000\r\n\r\n[',
    )
    try {
      expect(await answered).toMatch(/^HTTP\/1\.1 404 /)
      const large = `{"share_index":"${'0'.repeat(1_200_000)}"}`
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${node.token}` }
      expect((await ask(relayer.url, '/exit-signature', { body: large, headers })).status).toBe(422)
    } finally {
      socket.destroy()
    }
  })

  it('that end half way are no fault of the relayer', async () => {
    const lines: string[] = []
    const destination = { write: (line: string) => lines.push(line) }
    await using relayer = await world.startRelayer(threshold, {
      logger: createLogger({ level: 'debug', format: 'json', destination }),
    })
    const { port, hostname } = new URL(relayer.url)
    const socket = createConnection(Number(port), hostname)
    const head =
      'POST /validators HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n['
    await new Promise((resolve) => socket.write(head, resolve))
    await ask(relayer.url, '/health')
    socket.destroy()
    const line = await eventually('it is told', async () => lines.find((text) => text.includes('"/validators"')))
    expect(JSON.parse(line)).toMatchObject({ level: 'debug', code: 'REQUEST_INVALID' })
  })
})

describe('an operator', () => {
  it('cannot pass the limit of live exits by letting some expire, and a refusal leaves nothing behind', async () => {
    await using relayer = await world.startRelayer({ ...threshold, MAX_OPEN_EXITS: '1' })
    const [first = '', second = '', third = ''] = publicKeysOf(createTestKeys(3, { nodes: 4, threshold: 3 }))
    const post = (key: string) => postValidators(relayer.url, [key])
    await query(`update messages set state = 'superseded'`)
    expect((await post(first)).status).toBe(200)
    await query(`update messages set state = 'expired' where state = 'collecting'`)
    expect((await post(second)).status).toBe(200)
    expect(await post(first)).toMatchObject({ status: 429, json: { code: 'TOO_MANY_EXITS' } })
    expect((await post(third)).status).toBe(429)
    expect(await query('select id from validators where public_key = any($1)', [bytea([third])])).toEqual([])
    await query(`update messages set state = 'superseded'`)
  })

  it('whose token is bound to other vaults now gets nothing of its old exits', async () => {
    const [key = ''] = publicKeysOf(take(1))
    const operator = createToken('operator', 'operator', '*')
    const headers = { authorization: `Bearer ${operator.token}` }
    const file = join(world.dir, 'rebound')
    const settings = { CLUSTER_LOCK_FILES: cluster.lockFile, AUTH_TOKENS_FILE: file }
    await writeFile(file, operator.line)
    {
      await using relayer = await world.startRelayer(settings)
      expect((await postValidators(relayer.url, [key], headers)).status).toBe(200)
    }
    await writeFile(file, operator.line.replace(' * ', ` 0x${'11'.repeat(20)} `))
    await using relayer = await world.startRelayer(settings)
    expect(await postValidators(relayer.url, [key], headers)).toMatchObject({
      status: 403,
      json: { code: 'TOKEN_BINDING' },
    })
  })
})

it('a stored value that is damaged holds up no other: neither of the same job nor of the same exit', async () => {
  await using relayer = await world.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile })
  const validators = take(2)
  const keys = publicKeysOf(validators)
  await postValidators(relayer.url, keys)
  for (const share of [1, 2]) await sidecarRound(relayer.url, world.network, validators, share)
  // As a process leaves it that dies between storing and verifying.
  await query(
    `update partial_signatures p set state = 'unverified', seen_at = now() - interval '1 minute',
            sealed = case when p.share_index = 1 and v.public_key = $2 then sealed || '\\x00'::bytea else sealed end
     from messages m join validators v on v.id = m.validator_id where m.id = p.message_id and v.public_key = any($1)`,
    [bytea(keys), ...bytea(keys.slice(0, 1))],
  )
  await eventually('all others are verified', async () => {
    const rows = await query(
      `select p.share_index, v.public_key = $2 as damaged from partial_signatures p join messages m on m.id = p.message_id
       join validators v on v.id = m.validator_id where v.public_key = any($1) and p.state = 'verified'`,
      [bytea(keys), ...bytea(keys.slice(0, 1))],
    )
    return rows.length === 3 ? true : undefined
  })
  for (const share of [3, 4]) await sidecarRound(relayer.url, world.network, validators, share)
  await eventually('both exits are ready', async () => {
    const exits = await Promise.all(keys.map((key) => exitOf(relayer.url, key)))
    return exits.every((exit) => exit?.is_exit_signature_ready) ? true : undefined
  })
})

it('a text that is no CID, announced as the oracle config, is refused in one readable line', async () => {
  const lines: string[] = []
  const destination = { write: (line: string) => lines.push(line) }
  await world.keeper.setConfig('Qm\u0000\n2026 ERROR forged')
  try {
    await using relayer = await world.startRelayer(threshold, {
      logger: createLogger({ level: 'debug', format: 'plain', destination }),
    })
    const text = await eventually('/ready says so', async () => {
      const answer = await ask(relayer.url, '/ready')
      return answer.text.includes('is not in force') ? answer.text : undefined
    })
    expect(text).toContain('Qm??2026 ERROR forged')
    expect(lines.filter((line) => line.includes('oracle set refused'))).toHaveLength(1)
  } finally {
    await world.announce(world.oracles, 7)
  }
})
