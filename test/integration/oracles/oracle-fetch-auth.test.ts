/** Who may fetch oracle shares where tokens are set: by token and role and what it is bound to, and by signed requests. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { parseAddress } from '@dvt-relayer/crypto/address.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import type { Relayer } from '../../../apps/relayer/src/relayer.ts'
import { makeOracles, type TestOracle } from '../../support/chain/oracles.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { expectRefusal } from '../../support/mutations.ts'
import { addressOf, pathOf, signedHeaders } from '../../support/stages/oracle-fetch.ts'
import { postValidators, sidecarRound, untilOracleSet, untilShares } from '../../support/world/nodes.ts'
import { ask, eventually, hex, startWorld, type World } from '../../support/world/world.ts'

const VAULT = `0x${'11'.repeat(20)}`
const FOREIGN = `0x${'22'.repeat(20)}`
const now = () => Math.floor(Date.now() / 1000)
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

let world: World
let relayer: Relayer
let second: Relayer
let url: string
let a: TestOracle
let b: TestOracle
let stranger: TestOracle
/** By name: the header of a token. */
let headers: Record<string, Record<string, string>>
/** Of the vault VAULT, and of none that is known. */
let bound: string
let free: string

const query: World['query'] = (text, values) => world.query(text, values)
const nonces = async () => (await query<{ count: string }>('select count(*) from oracle_nonces'))[0]?.count

beforeAll(async () => {
  world = await startWorld({ oracles: 2, threshold: 2 })
  const [first, last] = world.oracles
  if (first === undefined || last === undefined) throw new Error('no oracles')
  ;[a, b, stranger] = [first, last, makeOracles(1)[0] as TestOracle]
  const made = {
    none: undefined,
    admin: createToken('admin', 'admin', '*'),
    oracleA: createToken('oracle-a', 'oracle', addressOf(a)),
    oracleB: createToken('oracle-b', 'oracle', addressOf(b).toLowerCase()),
    oracleBoth: createToken('oracle-both', 'oracle', `${addressOf(a)},${addressOf(b)}`),
    oracleAny: createToken('oracle-any', 'oracle', '*'),
    operator: createToken('operator', 'operator', VAULT),
    operatorElsewhere: createToken('operator-elsewhere', 'operator', FOREIGN),
    operatorAny: createToken('operator-any', 'operator', '*'),
    sidecar: createToken('sidecar', 'sidecar', '*'),
    nobody: createToken('nobody', 'oracle', '*'),
  }
  const file = join(world.dir, 'tokens')
  const { none: _, nobody: __, ...known } = made
  await writeFile(
    file,
    Object.values(known)
      .map(({ line }) => line)
      .join('\n'),
  )
  headers = Object.fromEntries(
    Object.entries(made).map(([name, one]) => [name, one === undefined ? {} : bearer(one.token)]),
  )
  const settings = { SIGNATURE_THRESHOLD: '1', AUTH_TOKENS_FILE: file }
  relayer = await world.startRelayer(settings)
  second = await world.startRelayer({ ...settings, ROLE: 'api' })
  url = relayer.url
  await untilOracleSet(url, headers['admin'])
  const validators = createTestKeys(2, { nodes: 1, threshold: 1 })
  const keys = validators.map(({ publicKey }) => hex(publicKey))
  expect((await postValidators(url, keys, headers['operatorAny'])).status).toBe(200)
  await sidecarRound(url, world.network, validators, 1, headers['sidecar'])
  await untilShares(url, keys, headers['operatorAny'])
  ;[bound = '', free = ''] = keys
  await query('update validators set withdrawal_address = $1 where public_key = $2', [
    Buffer.from(fromHex(VAULT)),
    Buffer.from(fromHex(bound)),
  ])
})
afterAll(async () => {
  await second?.[Symbol.asyncDispose]()
  await relayer?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

describe('with a token', () => {
  /** Status and code by token: shares of a, of b, of a stranger; the set of a validator of VAULT, of one without a vault, of nobody's. */
  const MATRIX: Record<string, string[]> = {
    none: Array(6).fill('401 TOKEN_MISSING'),
    nobody: Array(6).fill('401 TOKEN_UNKNOWN'),
    admin: ['200', '200', '404 ORACLE_UNKNOWN', '200', '200', '404 ORACLE_SHARES_MISSING'],
    oracleA: ['200', ...Array(2).fill('403 TOKEN_BINDING'), ...Array(3).fill('403 TOKEN_ROLE')],
    oracleB: ['403 TOKEN_BINDING', '200', '403 TOKEN_BINDING', ...Array(3).fill('403 TOKEN_ROLE')],
    oracleBoth: ['200', '200', '403 TOKEN_BINDING', ...Array(3).fill('403 TOKEN_ROLE')],
    oracleAny: ['200', '200', '404 ORACLE_UNKNOWN', ...Array(3).fill('403 TOKEN_ROLE')],
    operator: [...Array(3).fill('403 TOKEN_ROLE'), '200', '403 TOKEN_BINDING', '404 ORACLE_SHARES_MISSING'],
    operatorElsewhere: [
      ...Array(3).fill('403 TOKEN_ROLE'),
      ...Array(2).fill('403 TOKEN_BINDING'),
      '404 ORACLE_SHARES_MISSING',
    ],
    operatorAny: [...Array(3).fill('403 TOKEN_ROLE'), '200', '200', '404 ORACLE_SHARES_MISSING'],
    sidecar: Array(6).fill('403 TOKEN_ROLE'),
  }

  it.each(Object.keys(MATRIX))('%s', async (name) => {
    const paths = [
      pathOf(addressOf(a)),
      pathOf(toHex(b.publicKey)),
      pathOf(addressOf(stranger)),
      `/validators/${bound}/oracle-shares`,
      `/validators/${free}/oracle-shares`,
      `/validators/0x${'33'.repeat(48)}/oracle-shares`,
    ]
    const seen = await Promise.all(
      paths.map(async (path) => {
        const answer = await ask(url, path, { headers: headers[name] ?? {} })
        if (answer.status === 200) return '200'
        expectRefusal(answer)
        return `${answer.status} ${(answer.json as { code: string }).code}`
      }),
    )
    expect(seen).toEqual(MATRIX[name])
  })

  it('takes it as the password of a URL, and asks for one', async () => {
    const basic = `Basic ${Buffer.from(`x:${headers['oracleA']?.['authorization']?.slice('Bearer '.length)}`).toString('base64')}`
    expect((await ask(url, pathOf(addressOf(a)), { headers: { authorization: basic } })).status).toBe(200)
    expect((await ask(url, pathOf(addressOf(a)))).headers.get('www-authenticate')).toMatch(/^Basic /)
  })
})

describe('a signed request', () => {
  const sent = async (path: string, authorization: { authorization: string }, at = url) => {
    const answer = await ask(at, path, { headers: authorization })
    if (answer.status !== 200) expectRefusal(answer)
    return answer.status === 200 ? '200' : `${answer.status} ${(answer.json as { code: string }).code}`
  }

  it('gives its signer its own shares, whatever the spelling of the path', async () => {
    for (const oracle of [a, b])
      for (const name of [
        addressOf(oracle),
        toHex(oracle.publicKey).slice(4),
        toHex(secp256k1.getPublicKey(oracle.secretKey)),
      ]) {
        const path = pathOf(name, { limit: 5, vault: VAULT })
        const answer = await ask(url, path, { headers: await signedHeaders(oracle, path) })
        expect(answer).toMatchObject({ status: 200, json: { exit_shares: [{ public_key: bound }] } })
      }
  })

  it('works once, in all processes', async () => {
    const path = pathOf(addressOf(a))
    const header = await signedHeaders(a, path)
    const race = await Promise.all([url, second.url, url, second.url].map((at) => sent(path, header, at)))
    expect(race.toSorted()).toEqual(['200', ...Array(3).fill('401 REQUEST_REPLAYED')])
    expect(await sent(path, header, second.url)).toBe('401 REQUEST_REPLAYED')
    // Another oracle's nonces are its own; the same nonce in another spelling of the header is the same.
    const nonce = new Uint8Array(32).fill(9)
    expect(await sent(path, await signedHeaders(a, path, { nonce }))).toBe('200')
    expect(await sent(pathOf(addressOf(b)), await signedHeaders(b, pathOf(addressOf(b)), { nonce }), second.url)).toBe(
      '200',
    )
    const { authorization } = await signedHeaders(a, path, { nonce })
    const spelled = authorization.replace('Oracle', 'ORACLE').replaceAll('0x', '').toUpperCase()
    expect(await sent(path, { authorization: spelled }, second.url)).toBe('401 REQUEST_REPLAYED')
  })

  it('is bound to everything it says, and leaves no trace when refused', async () => {
    const path = pathOf(addressOf(a), { limit: 1 })
    const before = await nonces()
    const good = await signedHeaders(a, path)
    const [time = '', nonce = '', signature = ''] = good.authorization.slice('Oracle '.length).split(':')
    const bytes = fromHex(signature, 65)
    const s = BigInt(toHex(bytes.subarray(32, 64)))
    const highS = (secp256k1.Point.Fn.ORDER - s).toString(16).padStart(64, '0')
    const flipped = `${signature.slice(0, 66)}${highS}${signature.endsWith('1b') ? '1c' : '1b'}`
    const as = (...parts: string[]) => ({ authorization: `Oracle ${parts.join(':')}` })
    const foreign = '403 REQUEST_SIGNATURE_FOREIGN'
    const invalid = '401 REQUEST_SIGNATURE_INVALID'
    const cases: [string, { authorization: string }, string, string?][] = [
      ['another limit', good, foreign, pathOf(addressOf(a), { limit: 2 })],
      ['no query', good, foreign, pathOf(addressOf(a))],
      [
        'a query in another order',
        await signedHeaders(a, path, { signedPath: `${path}&wait=0` }),
        foreign,
        pathOf(addressOf(a), { wait: 0, limit: 1 }),
      ],
      ['another spelling of the path', good, foreign, path.replace('0x', '0X')],
      ['the path of another oracle', await signedHeaders(a, pathOf(addressOf(b))), foreign, pathOf(addressOf(b))],
      ['another method', await signedHeaders(a, path, { method: 'HEAD' }), foreign],
      ['another network', await signedHeaders(a, path, { network: 'mainnet' }), foreign],
      ['another key', await signedHeaders(b, path), foreign],
      ['another time', as(String(Number(time) - 1), nonce, signature), foreign],
      ['another nonce', as(time, `${nonce.slice(0, -2)}${nonce.endsWith('00') ? '01' : '00'}`, signature), foreign],
      ['a longer nonce', as(time, `${nonce}00`, signature), foreign],
      ['the other signature of the same key', as(time, nonce, flipped), invalid],
      ['v of another kind', as(time, nonce, `${signature.slice(0, -2)}1d`), invalid],
      ['no signature', as(time, nonce), invalid],
      ['a short nonce', await signedHeaders(a, path, { nonce: new Uint8Array(15) }), invalid],
      ['a long nonce', await signedHeaders(a, path, { nonce: new Uint8Array(33) }), invalid],
      ['another scheme of text', as(Buffer.from('{}').toString('base64url')), invalid],
      ['a time in milliseconds', await signedHeaders(a, path, { time: Date.now() }), '401 REQUEST_TIME'],
      ['a time too early', await signedHeaders(a, path, { time: now() - 70 }), '401 REQUEST_TIME'],
      ['a time too late', await signedHeaders(a, path, { time: now() + 70 }), '401 REQUEST_TIME'],
      [
        'an oracle of no set',
        await signedHeaders(stranger, pathOf(addressOf(stranger))),
        '404 ORACLE_UNKNOWN',
        pathOf(addressOf(stranger)),
      ],
      ['an oracle that is none', good, '422 ORACLE_INVALID', '/oracles/me/exit-shares'],
    ]
    for (const [name, header, code, other] of cases)
      expect([name, await sent(other ?? path, header)]).toEqual([name, code])
    expect(await nonces()).toBe(before)
    expect(await sent(path, good)).toBe('200')
    for (const time of [now() - 50, now() + 50])
      expect(await sent(path, await signedHeaders(a, path, { time }))).toBe('200')
  })

  it('opens no other door', async () => {
    const address = addressOf(a)
    for (const [method, path] of [
      ['GET', '/exits'],
      ['GET', '/validators'],
      ['GET', '/info'],
      ['GET', '/ready'],
      ['GET', '/metrics'],
      ['GET', `/validators/${free}/oracle-shares`],
      ['POST', '/validators'],
      ['POST', '/register'],
    ] as const) {
      const answer = await ask(url, path, {
        method,
        headers: await signedHeaders(a, path, { method }),
        ...(method === 'POST' ? { body: { public_keys: [free] } } : {}),
      })
      expect(answer, path).toMatchObject({ status: 403, json: { code: 'REQUEST_SIGNATURE_ROUTE' } })
      expectRefusal(answer)
    }
    expect((await ask(url, pathOf(address), { headers: { authorization: 'Oracle' } })).json).toMatchObject({
      code: 'TOKEN_MISSING',
    })
  })

  it('is forgotten when it can be of no use any more', async () => {
    const path = pathOf(addressOf(a))
    const nonce = new Uint8Array(16).fill(3)
    expect(await sent(path, await signedHeaders(a, path, { nonce }))).toBe('200')
    const kept = async () =>
      (
        await query('select from oracle_nonces where oracle = $1 and nonce = $2', [
          Buffer.from(parseAddress(addressOf(a)) ?? []),
          Buffer.from(nonce),
        ])
      ).length
    await query(`update oracle_nonces set seen_at = seen_at - interval '890 seconds' where nonce = $1`, [
      Buffer.from(nonce),
    ])
    await query(`update oracle_nonces set seen_at = seen_at - interval '1 day' where nonce <> $1`, [Buffer.from(nonce)])
    await eventually('the sweep', async () => ((await nonces()) === '1' ? true : undefined))
    expect(await kept()).toBe(1)
    await query(`update oracle_nonces set seen_at = seen_at - interval '20 seconds'`)
    await eventually('the sweep', async () => ((await kept()) === 0 ? true : undefined))
  })
})

describe('without tokens', () => {
  it('everybody gets what the operator gets anyway', async () => {
    await using open = await world.startRelayer({ SIGNATURE_THRESHOLD: '1', ROLE: 'api' })
    expect((await ask(open.url, pathOf(addressOf(a)))).status).toBe(200)
    expect((await ask(open.url, pathOf(addressOf(a)), { headers: { authorization: 'Oracle x' } })).status).toBe(200)
    expect((await ask(open.url, `/validators/${bound}/oracle-shares`)).status).toBe(200)
  })

  it('no answer holds an exit signature, whole or partial', async () => {
    const messages = await query<{ signature: Buffer }>('select signature from messages where signature is not null')
    expect(messages.length).toBe(2)
    for (const path of [pathOf(addressOf(a)), `/validators/${bound}/oracle-shares`]) {
      const { text } = await ask(url, path, { headers: headers['admin'] ?? {} })
      // 96 bytes of hex that stand for themselves: every longer one is a ciphertext, every shorter one a public key or a digest.
      expect(text).not.toMatch(/"0x[0-9a-f]{192}"/)
    }
  })
})
