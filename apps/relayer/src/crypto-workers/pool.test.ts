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
