import { currentAccount, onAccountOf } from '@dvt-relayer/common/account.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { parseAddress } from '@dvt-relayer/crypto/address.ts'
import { requestText } from '@dvt-relayer/crypto/oracle/request-signature.ts'
import type { FastifyRequest } from 'fastify'
import { privateKeyToAccount } from 'viem/accounts'
import { describe, expect, it } from 'vitest'
import { createOracleAuth, parseOracle } from './oracle-auth.ts'

const NOW = 1_800_000_000
const PATH = '/oracles/x/exit-shares'
const account = privateKeyToAccount(toHex(new Uint8Array(32).fill(7)))
const oracle = parseAddress(account.address) ?? new Uint8Array()

/** What decides, with an oracle that is known, and what it did. */
function makeAuth({ isKnown = true, publicUrl = undefined as URL | undefined } = {}) {
  const done: string[] = []
  const accounts: unknown[] = []
  const used = new Set<string>()
  let lookedUp = 0
  const auth = createOracleAuth({
    network: { name: 'hoodi' },
    publicUrl,
    events: { authRefused: (reason) => void done.push(`refused ${reason}`) },
    oracleFetch: {
      async isKnown() {
        lookedUp++
        return isKnown
      },
      takeNonce: async (_, nonce) => {
        done.push('nonce')
        accounts.push(currentAccount())
        const isNew = !used.has(toHex(nonce))
        used.add(toHex(nonce))
        return isNew
      },
    },
  })
  return { auth, done, accounts, lookedUp: () => lookedUp }
}

/** The credentials of a request that was signed at a time. */
async function signedAt(time: number, nonce = new Uint8Array(16)): Promise<string> {
  const message = requestText({ method: 'GET', path: PATH, network: 'hoodi', time, nonce })
  return `${time}:${toHex(nonce)}:${await account.signMessage({ message })}`
}
const request = {
  method: 'GET',
  raw: { url: PATH },
  socket: { remoteAddress: '192.0.2.1' },
} as unknown as FastifyRequest
const ask = ({ auth }: ReturnType<typeof makeAuth>, credentials: string, now: number) =>
  auth.authenticate(request, credentials, oracle, 'route', now)

describe('the time of a signed request', () => {
  it.each([0, 1, 59, 60, -1, -59, -60])('may be %i seconds off', async (off) => {
    const made = makeAuth()
    expect((await ask(made, await signedAt(NOW + off), NOW)).role).toBe('oracle')
    expect(made.done).toEqual(['nonce'])
  })

  it.each([61, 60.001, 3600, -61, -60.001, -3600])(
    'may not be %d seconds off, and no nonce is used up',
    async (off) => {
      const made = makeAuth()
      // The time of a request is whole; the clock is not.
      const time = Math.trunc(NOW + off)
      await expect(ask(made, await signedAt(time), time - off)).rejects.toMatchObject({ code: 'REQUEST_TIME' })
      expect(made.done).toEqual(['refused time'])
    },
  )
})

describe('the clock of a signed request', () => {
  it('is that of this machine', async () => {
    const credentials = await signedAt(Math.floor(Date.now() / 1000))
    expect((await makeAuth().auth.authenticate(request, credentials, oracle, 'route')).role).toBe('oracle')
  })
})

describe('the nonce of a signed request', () => {
  it('is used up in a line of its oracle, not behind the strangers of its address', async () => {
    const made = makeAuth()
    await onAccountOf({ group: 'stranger', name: '192.0.2.1' }, async () => ask(made, await signedAt(NOW), NOW))
    expect(made.accounts).toEqual([{ group: 'oracle', name: `proof:${toHex(oracle)}` }])
  })

  it.each([16, 32])('may have %i bytes, and is good once', async (length) => {
    const made = makeAuth()
    const credentials = await signedAt(NOW, new Uint8Array(length).fill(1))
    await ask(made, credentials, NOW)
    await expect(ask(made, credentials, NOW)).rejects.toMatchObject({ code: 'REQUEST_REPLAYED' })
    expect(made.done).toEqual(['nonce', 'nonce', 'refused replay'])
  })

  it.each([0, 15, 33])('may not have %i bytes', async (length) => {
    const made = makeAuth()
    const credentials = await signedAt(NOW, new Uint8Array(length))
    await expect(ask(made, credentials, NOW)).rejects.toMatchObject({ code: 'REQUEST_SIGNATURE_INVALID' })
    expect(made.done).toEqual(['refused signature'])
  })

  it('is not stored for an oracle that asks more often than any does', async () => {
    const made = makeAuth()
    const credentials = await signedAt(NOW)
    const outcome = (now: number) => ask(made, credentials, now).catch(({ code }: { code: string }) => code)
    expect(await outcome(NOW)).toMatchObject({ role: 'oracle' })
    for (let i = 1; i < 1000; i++) expect(await outcome(NOW)).toBe('REQUEST_REPLAYED')
    made.done.length = 0
    expect(await outcome(NOW)).toBe('RATE_LIMIT')
    expect(made.done).toEqual([])
    expect(await outcome(NOW + 0.0499)).toBe('RATE_LIMIT')
    expect(await outcome(NOW + 0.0501)).toBe('REQUEST_REPLAYED')
  })

  it('is not used up for an oracle that nobody knows', async () => {
    const made = makeAuth({ isKnown: false })
    await expect(ask(made, await signedAt(NOW), NOW)).rejects.toMatchObject({ code: 'ORACLE_UNKNOWN' })
    expect(made.done).toEqual([])
  })

  it('is not used up where another oracle signed', async () => {
    const made = makeAuth()
    const other = fromHex(`0x${'11'.repeat(20)}`)
    const credentials = await signedAt(NOW)
    await expect(made.auth.authenticate(request, credentials, other, 'route', NOW)).rejects.toMatchObject({
      code: 'REQUEST_SIGNATURE_FOREIGN',
    })
    expect(made.done).toEqual(['refused signature'])
  })
})

describe('wrong signatures', () => {
  it('that are none are told so', async () => {
    const made = makeAuth()
    const none = `${NOW}:0x${'11'.repeat(16)}:0x${'00'.repeat(64)}1b`
    await expect(ask(made, none, NOW)).rejects.toMatchObject({
      code: 'REQUEST_SIGNATURE_INVALID',
      message: expect.stringContaining('the signature is none'),
    })
    expect(made.done).toEqual(['refused signature'])
  })

  it('are recovered no more where one address sends many, and right ones cost it nothing', async () => {
    const made = makeAuth()
    const other = fromHex(`0x${'11'.repeat(20)}`)
    const credentials = await signedAt(NOW)
    const outcome = (of: Uint8Array, now = NOW, from = request) =>
      made.auth.authenticate(from, credentials, of, 'route', now).then(
        () => 'taken',
        ({ code }: { code: string }) => code,
      )
    // What is right pays for nothing, either.
    for (let count = 0; count < 10; count++) await outcome(other)
    for (let count = 0; count < 600; count++) await outcome(oracle)
    for (let count = 10; count < 500; count++) expect(await outcome(other)).toBe('REQUEST_SIGNATURE_FOREIGN')
    expect(await outcome(other)).toBe('RATE_LIMIT')
    const elsewhere = { ...request, socket: { remoteAddress: '192.0.2.2' } } as unknown as FastifyRequest
    expect(await outcome(other, NOW, elsewhere)).toBe('REQUEST_SIGNATURE_FOREIGN')
    expect(await outcome(other, NOW + 0.0199)).toBe('RATE_LIMIT')
    expect(await outcome(other, NOW + 0.0201)).toBe('REQUEST_SIGNATURE_FOREIGN')
  })
})

describe('right signatures of a key that is no oracle’s', () => {
  it('are counted like wrong ones, so that nobody is looked up for them without end', async () => {
    const made = makeAuth({ isKnown: false })
    const credentials = await signedAt(NOW)
    const outcome = (now = NOW, from = request) =>
      made.auth.authenticate(from, credentials, oracle, 'route', now).catch(({ code }: { code: string }) => code)
    for (let count = 0; count < 500; count++) expect(await outcome()).toBe('ORACLE_UNKNOWN')
    expect(made.lookedUp()).toBe(500)
    expect(await outcome()).toBe('RATE_LIMIT')
    expect(made.lookedUp()).toBe(500)
    const elsewhere = { ...request, socket: { remoteAddress: '192.0.2.2' } } as unknown as FastifyRequest
    expect(await outcome(NOW, elsewhere)).toBe('ORACLE_UNKNOWN')
    expect(await outcome(NOW + 1)).toBe('ORACLE_UNKNOWN')
  })
})

describe('the second version of the text', () => {
  const EMPTY = `0x${'e3b0c44298fc1c149afbf4c8996fb924'}27ae41e4649b934ca495991b7852b855`

  async function signedFor(relayer: string, body = EMPTY, nonce = '11'.repeat(16)): Promise<string> {
    const message = `dvt-relayer request\nnetwork: hoodi\nrelayer: ${relayer}\nmethod: GET\npath: ${PATH}\nbody: ${body}\ntime: ${NOW}\nnonce: 0x${nonce}`
    return `${NOW}:0x${nonce}:${await account.signMessage({ message })}`
  }
  const outcome = async (made: ReturnType<typeof makeAuth>, credentials: string) =>
    ask(made, credentials, NOW).then(
      () => 'taken',
      ({ code }: { code: string }) => code,
    )
  const publicUrl = new URL('https://relayer.example/')

  it('is taken beside the first, for this relayer and no body alone', async () => {
    const made = makeAuth({ publicUrl })
    expect(await outcome(made, await signedFor('https://relayer.example'))).toBe('taken')
    expect(await outcome(made, await signedAt(NOW))).toBe('taken')
    const foreign = 'REQUEST_SIGNATURE_FOREIGN'
    expect(await outcome(made, await signedFor('https://other.example', EMPTY, '22'.repeat(16)))).toBe(foreign)
    expect(
      await outcome(made, await signedFor('https://relayer.example', `0x${'00'.repeat(32)}`, '33'.repeat(16))),
    ).toBe(foreign)
    // Of both versions a nonce is good once.
    expect(await outcome(made, await signedFor('https://relayer.example'))).toBe('REQUEST_REPLAYED')
  })

  it('is not where the relayer does not know what it is called', async () => {
    expect(await outcome(makeAuth(), await signedFor('https://relayer.example'))).toBe('REQUEST_SIGNATURE_FOREIGN')
  })
})

describe('the oracle of a path', () => {
  const key = fromHex(account.publicKey, 65)
  const compressed = Uint8Array.from([2 + ((key[64] ?? 0) & 1), ...key.subarray(1, 33)])

  it('is named by its address, or by its key in any form', () => {
    const names = [
      account.address,
      account.address.toLowerCase(),
      account.address.slice(2),
      toHex(key),
      toHex(compressed),
    ]
    for (const name of [...names, toHex(key.subarray(1)), toHex(key).slice(2)])
      expect(parseOracle(name), name).toEqual(oracle)
  })

  it.each([
    [
      'a letter in the wrong case',
      account.address.replace(/[a-f]/, (letter) => letter.toUpperCase()),
      'not an address',
    ],
    ['an address that is no hex', 'x'.repeat(40), 'not an address'],
    ['an address a digit short', account.address.slice(0, -1), 'neither'],
    ['an address a digit long', `${account.address}0`, 'neither'],
    ['a point off the curve', `0x04${'11'.repeat(64)}`, 'neither'],
    ['nothing', '', 'neither'],
  ])('is not named by %s', (_, name, words) => {
    expect(() => parseOracle(name)).toThrow(
      expect.objectContaining({ code: 'ORACLE_INVALID', message: expect.stringContaining(words) }),
    )
  })
})
