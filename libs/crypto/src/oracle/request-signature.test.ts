import { createHash } from 'node:crypto'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import fc from 'fast-check'
import { privateKeyToAccount } from 'viem/accounts'
import { describe, expect, it } from 'vitest'
import { readFixture, readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { addressOfPublicKey, addressOfSecretKey } from '../address.ts'
import {
  compressedKey,
  createRecover,
  credentialsText,
  parseNodeKey,
  parseRequestCredentials,
  recoverPlainly,
  recoverRequestKey,
  relayerName,
  requestText,
  type SignedRequest,
  signRequest,
} from './request-signature.ts'

/** The address of who signed, as an oracle is known by it. */
const recoverRequestSigner = (...signed: Parameters<typeof recoverRequestKey>): Uint8Array =>
  addressOfPublicKey(recoverRequestKey(...signed))

const SECRET = new Uint8Array(32).fill(7)
const ADDRESS = addressOfSecretKey(SECRET)
const REQUEST: SignedRequest = {
  method: 'GET',
  path: '/oracles/0xabc/exit-shares?after=1.2.3&wait=25',
  network: 'hoodi',
  time: 1_732_147_200,
  nonce: new Uint8Array(16).fill(0xab),
}
const ORDER = secp256k1.Point.Fn.ORDER
const invalid = expect.objectContaining({ code: 'SIGNATURE_INVALID' })

/** As any Ethereum library makes it. */
const sign = async (request: SignedRequest, secretKey = SECRET) =>
  fromHex(await privateKeyToAccount(toHex(secretKey)).signMessage({ message: requestText(request) }), 65)
const bytes32 = (value: bigint) => fromHex(value.toString(16).padStart(64, '0'), 32)

describe('the text of a request', () => {
  it('names everything the signature binds', () => {
    expect(requestText(REQUEST)).toBe(`dvt-relayer request
network: hoodi
method: GET
path: /oracles/0xabc/exit-shares?after=1.2.3&wait=25
time: 1732147200
nonce: 0x${'ab'.repeat(16)}`)
  })

  it('is another one for every other request', () => {
    const line = fc.stringMatching(/^[ -~]{0,12}$/)
    const request = fc.record({
      method: line,
      path: line,
      network: line,
      time: fc.nat(),
      nonce: fc.uint8Array({ minLength: 16, maxLength: 32 }),
    })
    fc.assert(
      fc.property(request, request, (a, b) => {
        const isSame =
          JSON.stringify({ ...a, nonce: toHex(a.nonce) }) === JSON.stringify({ ...b, nonce: toHex(b.nonce) })
        expect(requestText(a) === requestText(b)).toBe(isSame)
      }),
    )
  })
})

describe('the signer of a request', () => {
  it('is recovered natively where that is possible, and alike without', () => {
    const recover = createRecover()
    expect(recover).not.toBe(recoverPlainly)
    const none = () => {
      throw new Error('no binding')
    }
    expect(createRecover(none)).toBe(recoverPlainly)
    const outcome = (run: typeof recover, ...args: Parameters<typeof recover>) => {
      try {
        return toHex(run(...args))
      } catch {
        return 'none'
      }
    }
    const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
    fc.assert(
      fc.property(bytes(64), fc.constantFrom(0, 1), bytes(32), (signature, recovery, digest) => {
        expect(outcome(recover, signature, recovery, digest)).toBe(outcome(recoverPlainly, signature, recovery, digest))
      }),
      { numRuns: 30 },
    )
  })

  it('is recovered from what viem signs, whatever the request', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 31, maxLength: 31 }),
        fc.string(),
        fc.nat(),
        fc.uint8Array({ minLength: 16, maxLength: 32 }),
        async (secret, path, time, nonce) => {
          const secretKey = Uint8Array.from([1, ...secret])
          const request = { ...REQUEST, path, time, nonce }
          const signature = await sign(request, secretKey)
          expect(recoverRequestSigner(request, signature)).toEqual(addressOfSecretKey(secretKey))
          // v as 0 and 1 is the other spelling that libraries have.
          expect(recoverRequestSigner(request, signature.with(64, (signature[64] ?? 0) - 27))).toEqual(
            addressOfSecretKey(secretKey),
          )
        },
      ),
      { numRuns: 30 },
    )
  })

  it.each<[string, Partial<SignedRequest>]>([
    ['method', { method: 'POST' }],
    ['path', { path: '/oracles/0xabd/exit-shares?after=1.2.3&wait=25' }],
    ['query', { path: '/oracles/0xabc/exit-shares?after=1.2.3&wait=24' }],
    ['network', { network: 'mainnet' }],
    ['time', { time: REQUEST.time + 1 }],
    ['nonce', { nonce: REQUEST.nonce.with(15, 0) }],
    ['length of the nonce', { nonce: Uint8Array.from([...REQUEST.nonce, 0xab]) }],
  ])('is another one with another %s', async (_, change) => {
    const signature = await sign(REQUEST)
    expect(recoverRequestSigner(REQUEST, signature)).toEqual(ADDRESS)
    let other: Uint8Array | undefined
    try {
      other = recoverRequestSigner({ ...REQUEST, ...change }, signature)
    } catch (error) {
      expect(error).toEqual(invalid)
    }
    expect(other).not.toEqual(ADDRESS)
  })

  it('is nobody where the signature is the other one of the same key', async () => {
    const signature = await sign(REQUEST)
    const s = BigInt(toHex(signature.subarray(32, 64)))
    const flipped = Uint8Array.from([
      ...signature.subarray(0, 32),
      ...bytes32(ORDER - s),
      signature[64] === 27 ? 28 : 27,
    ])
    expect(() => recoverRequestSigner(REQUEST, flipped)).toThrow(invalid)
  })

  it('is nobody where r, s, v or the length is none', async () => {
    const signature = await sign(REQUEST)
    const [r, s, v] = [signature.subarray(0, 32), signature.subarray(32, 64), signature.subarray(64)]
    const wrong = [
      [bytes32(0n), s, v],
      [r, bytes32(0n), v],
      [bytes32(ORDER), s, v],
      [r, bytes32(ORDER), v],
      [bytes32(2n ** 256n - 1n), s, v],
      [r, s],
      [r, s, v, v],
      [],
      // x = 5 is on no point of the curve.
      [bytes32(5n), s, v],
      ...[2, 3, 4, 26, 29, 30, 31, 35, 36, 255].map((other) => [r, s, [other]]),
    ]
    for (const parts of wrong)
      expect(() => recoverRequestSigner(REQUEST, Uint8Array.from(parts.flatMap((part) => [...part])))).toThrow(invalid)
  })
})

describe('the header of a signed request', () => {
  const nonce = 'ab'.repeat(16)
  const signature = 'cd'.repeat(65)

  it.each([
    [`1732147200:0x${nonce}:0x${signature}`, nonce],
    [`1732147200:${nonce}:${signature.toUpperCase()}`, nonce],
    [`1732147200:0X${nonce}${nonce}:${signature}`, nonce + nonce],
  ])('is read', (text, digits) => {
    expect(parseRequestCredentials(text)).toEqual({
      time: 1_732_147_200,
      nonce: fromHex(digits),
      signature: fromHex(signature),
    })
  })

  it.each([
    '',
    'x',
    `1732147200:${nonce}`,
    `:${nonce}:${signature}`,
    `0:${nonce}:${signature}`,
    `01732147200:${nonce}:${signature}`,
    `-1:${nonce}:${signature}`,
    `1.5:${nonce}:${signature}`,
    `1e9:${nonce}:${signature}`,
    `9007199254740992:${nonce}:${signature}`,
    `99999999999999999:${nonce}:${signature}`,
    `1732147200:${nonce.slice(2)}:${signature}`,
    `1732147200:${nonce}${nonce}00:${signature}`,
    `1732147200:${nonce}0:${signature}`,
    `1732147200:${'zz'.repeat(16)}:${signature}`,
    `1732147200:${nonce}:${signature.slice(2)}`,
    `1732147200:${nonce}:${signature}00`,
    `1732147200:${nonce}:${signature}:`,
    `1732147200 :${nonce}:${signature}`,
    ` 1732147200:${nonce}:${signature}`,
    `1732147200:${nonce}:${signature}\n`,
  ])('is not %j', (text) => expect(parseRequestCredentials(text)).toBeUndefined())
})

/** A request of the frozen vectors, which were made without any of our code. */
interface Vector {
  name: string
  scheme: 'Node' | 'Oracle' | 'Operator'
  text: string
  body: string
  signature: `0x${string}`
}
const { node_public_key: nodeKey, requests } = readFixtureJson('identity/signed-requests.json') as {
  node_public_key: `0x${string}`
  requests: Vector[]
}

/** The parts of a text, read back by its lines. */
function partsOf({ text, body }: Vector): SignedRequest {
  const lines = new Map(text.split('\n').map((line) => line.split(': ') as [string, string]))
  const line = (name: string) => lines.get(name) ?? ''
  return {
    network: line('network'),
    method: line('method'),
    path: line('path'),
    time: Number(line('time')),
    nonce: fromHex(line('nonce')),
    bound: { relayer: line('relayer'), bodyHash: new Uint8Array(createHash('sha256').update(body).digest()) },
  }
}

describe('the second version', () => {
  const signed = requests.filter(({ scheme }) => scheme !== 'Operator')

  it.each(signed)('of the vector $scheme, $name is the text that was signed, and its signer the node', (vector) => {
    const request = partsOf(vector)
    expect(requestText(request)).toBe(vector.text)
    expect(toHex(recoverRequestKey(request, fromHex(vector.signature, 65)))).toBe(nodeKey)
  })

  it.each(signed)('is signed as viem signs $scheme, $name', (vector) => {
    const file = readFixture('obol/cluster-4/node0/charon-enr-private-key')
    const { secretKey, publicKey } = parseNodeKey(file)
    expect(publicKey).toEqual(compressedKey(fromHex(nodeKey, 65)))
    expect(toHex(signRequest(partsOf(vector), secretKey))).toBe(vector.signature)
  })

  it('is another text for every relayer and body, and never one of the first version', () => {
    const line = fc.stringMatching(/^[ -~]{0,12}$/)
    const bodyHash = fc.uint8Array({ minLength: 32, maxLength: 32 })
    const bound = fc.option(fc.record({ relayer: line, bodyHash }), { nil: undefined })
    const textOf = (of: SignedRequest['bound']) =>
      requestText({ ...REQUEST, ...(of === undefined ? {} : { bound: of }) })
    const nameOf = (of: SignedRequest['bound']) => of && `${of.relayer} ${toHex(of.bodyHash)}`
    fc.assert(
      fc.property(bound, bound, (a, b) => {
        expect(textOf(a) === textOf(b)).toBe(nameOf(a) === nameOf(b))
      }),
    )
  })

  it('names a relayer by its URL alone', () => {
    for (const [url, name] of [
      ['https://relayer.example', 'https://relayer.example'],
      ['https://node:token@Relayer.Example:443/', 'https://relayer.example'],
      ['http://10.0.0.1:8000//', 'http://10.0.0.1:8000'],
      ['https://relayer.example/dvt/?key=secret#x', 'https://relayer.example/dvt'],
      ['http://[::1]:8000', 'http://[::1]:8000'],
    ] as const)
      expect(relayerName(new URL(url))).toBe(name)
  })

  it('is spelled in the header as it is read there', () => {
    const credentials = {
      time: 1_732_147_200,
      nonce: new Uint8Array(32).fill(1),
      signature: new Uint8Array(65).fill(2),
    }
    expect(parseRequestCredentials(credentialsText(credentials))).toEqual(credentials)
    const long = { ...credentials, signature: new Uint8Array(256).fill(3) }
    expect(parseRequestCredentials(credentialsText(long), 256)).toEqual(long)
    expect(parseRequestCredentials(credentialsText(long))).toBeUndefined()
  })

  it('is of a key that has one short form, whichever y it has', () => {
    const firsts = new Set<number | undefined>()
    for (let byte = 1; byte <= 12; byte++) {
      const secretKey = new Uint8Array(32).fill(byte)
      const short = compressedKey(secp256k1.getPublicKey(secretKey, false))
      expect(short).toEqual(secp256k1.getPublicKey(secretKey, true))
      firsts.add(short[0])
    }
    expect(firsts).toEqual(new Set([2, 3]))
  })

  it.each(['', 'x', '00'.repeat(32), 'ff'.repeat(32), `${'11'.repeat(31)}`])(
    'has no key %j, and repeats none',
    (text) => {
      expect(() => parseNodeKey(text)).toThrow(expect.objectContaining({ code: 'SCALAR_INVALID' }))
      if (text.length > 1) expect(() => parseNodeKey(text)).not.toThrow(new RegExp(text))
    },
  )
})
