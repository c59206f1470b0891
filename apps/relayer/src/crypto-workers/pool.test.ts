import { onAccountOf } from '@dvt-relayer/common/account.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { scalarBytes } from '@dvt-relayer/crypto/bls/scalar.ts'
import { describe, expect, it } from 'vitest'
import { startCryptoPool } from './pool.ts'

describe('stopping the signature workers', () => {
  it('lets them load first, and finish the slice they are at', async () => {
    // A thread ended while it loads native code, or runs it, would end this process.
    for (let stops = 0; stops < 6; stops++) await startCryptoPool(2)[Symbol.asyncDispose]()
    const pool = startCryptoPool(1)
    const first = pool.arePublicKeys(Array.from({ length: 256 }, () => new Uint8Array(48)))
    const second = pool.arePublicKeys([new Uint8Array(48)])
    second.catch(() => {})
    await pool[Symbol.asyncDispose]()
    expect(await first).toHaveLength(256)
    await expect(second).rejects.toThrow('the signature workers are stopped')
    await expect(pool.arePublicKeys([new Uint8Array(48)])).rejects.toThrow('the signature workers are stopped')
  })
})

it('computes nothing for what is no signature of a node', async () => {
  // Without threads nothing that is computed comes to an end.
  await using pool = startCryptoPool(0)
  const of = (r: number, v: number) => new Uint8Array(65).fill(r, 0, 64).fill(v, 64)
  for (const signature of [of(0x11, 2), of(0x11, 29), of(0, 0), of(0xff, 1), new Uint8Array(64).fill(0x11)])
    expect(await pool.exitsSigner([], 1, signature)).toBeUndefined()
})

const engine = createBlstEngine()
const message = Buffer.alloc(32, 7)
const sign = (number: number) => engine.sign(scalarBytes(BigInt(number)), message)
const exit = (publicKey: Uint8Array, signatures: readonly Uint8Array[], threshold: number) => ({
  message,
  publicKey,
  threshold,
  signature: undefined,
  candidates: signatures.map((signature, position) => ({ shareIndex: position + 1, signatures: [signature] })),
  hints: [],
})
/** Of a threshold of seven among 14 invented shares: as long a search as there is. */
const hopeless = () =>
  exit(
    engine.publicKeyOf(scalarBytes(5n)),
    Array.from({ length: 14 }, (_, n) => sign(n + 100)),
    7,
  )

describe('a thread', () => {
  it('that searches among invented shares takes what others need between', async () => {
    await using pool = startCryptoPool(1)
    const ended: string[] = []
    const note = (name: string) => () => void ended.push(name)
    const search = pool.finish(Array.from({ length: 8 }, hopeless), undefined).then(note('search'), () => {})
    // It is at the search when this is answered.
    await pool.areSignatures([sign(3)]).then(note('check'))
    const triple = { publicKey: engine.publicKeyOf(scalarBytes(3n)), message, signature: sign(3) }
    expect(await pool.verify([triple])).toEqual([true])
    note('verify')()
    // A cluster of one: the first attempt finds it.
    const [finished] = await pool.finish([exit(triple.publicKey, [triple.signature], 1)], undefined)
    expect(finished).toMatchObject({ status: 'finished' })
    note('finish')()
    expect(ended).toEqual(['check', 'verify', 'finish'])
    await pool[Symbol.asyncDispose]()
    await search
  })

  it('is not taken by searches, of which there may be more than it takes turns with', async () => {
    await using pool = startCryptoPool(1)
    const ended: string[] = []
    const note = (name: string) => () => void ended.push(name)
    const searches = Array.from({ length: 9 }, () => pool.search(hopeless(), undefined).then(note('search'), () => {}))
    const signature = sign(3)
    const [finished] = await pool.finish([exit(engine.publicKeyOf(scalarBytes(3n)), [signature], 1)], undefined)
    note('finish')()
    expect(finished).toMatchObject({ status: 'finished' })
    expect(ended).toEqual(['finish'])
    await pool[Symbol.asyncDispose]()
    await Promise.all(searches)
  })

  it('serves callers in turn, however much one of them asks for', async () => {
    await using pool = startCryptoPool(1)
    const ended: string[] = []
    const triple = { publicKey: engine.publicKeyOf(scalarBytes(3n)), message, signature: sign(3) }
    const triples = Array.from({ length: 64 * 20 }, () => triple)
    const flood = onAccountOf({ group: 'sidecar', name: 'attacker' }, () => pool.verify(triples)).then(() =>
      ended.push('attacker'),
    )
    await onAccountOf({ group: 'sidecar', name: 'node' }, () => pool.verify(triples.slice(0, 64))).then(() =>
      ended.push('node'),
    )
    await flood
    expect(ended).toEqual(['node', 'attacker'])
  })

  it('goes on verifying, however many points somebody has it check', async () => {
    await using pool = startCryptoPool(1)
    const ended: string[] = []
    const triple = { publicKey: engine.publicKeyOf(scalarBytes(3n)), message, signature: sign(3) }
    const points = Array.from({ length: 256 * 20 }, () => triple.signature)
    const flood = onAccountOf({ group: 'sidecar', name: 'attacker' }, () => pool.areSignatures(points)).then(() =>
      ended.push('attacker'),
    )
    await onAccountOf({ group: 'sidecar', name: 'node' }, () => pool.verify([triple])).then(() => ended.push('node'))
    await flood
    expect(ended).toEqual(['node', 'attacker'])
  })

  it('says where a search was not over', async () => {
    await using pool = startCryptoPool(1)
    const [result] = await pool.finish([hopeless()], undefined, 20)
    expect(result).toEqual({ status: 'not_found', wrong: [], fitting: undefined, isUnfinished: true })
  })
})
