import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { createSealer, SealingError } from '@dvt-relayer/crypto/sealing.ts'
import { describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../../../test/support/keys/fixtures.ts'
import { createSealing, keyPlace, ownSealers, partialPlace, sealNewKey, signaturePlace } from './message-seals.ts'

interface Frozen {
  master_key: string
  digest_key: string
  own_key: { message_id: number; place: string; sealed: string }
  messages: {
    id: number
    kind: 'exit' | 'deposit'
    signature: string
    sealed: string
    share_index: number
    partial: string
    partial_sealed: string
    digest: string
  }[]
}
const frozen = readFixtureJson('vectors/sealing.json') as Frozen
const master = createSealer(fromHex(frozen.master_key))
const own = ownSealers(master, [
  { messageId: frozen.own_key.message_id, sealed: fromHex(frozen.own_key.sealed) },
  // Another exit's key in the place of this one's.
  { messageId: 18, sealed: fromHex(frozen.own_key.sealed) },
])

describe('what a database holds from before', () => {
  it.each(frozen.messages)('opens for ever: the signatures of a stored $kind', (message) => {
    const { id, kind, share_index: shareIndex } = message
    const sealer = kind === 'exit' ? own(id) : master
    expect(toHex(sealer?.open(fromHex(message.sealed), signaturePlace(id, kind)) ?? new Uint8Array())).toBe(
      message.signature,
    )
    const partial = sealer?.open(fromHex(message.partial_sealed), partialPlace(id, shareIndex, kind))
    expect(toHex(partial ?? new Uint8Array())).toBe(message.partial)
  })

  it.each(frozen.messages)('knows a posted signature again: of a stored $kind', (message) => {
    const sealing = createSealing(master, fromHex(frozen.digest_key), silentLogger)
    const digest = (shareIndex: number) => toHex(sealing.digest(shareIndex, fromHex(message.partial)))
    expect(digest(message.share_index)).toBe(message.digest)
    expect(digest(message.share_index + 1)).not.toBe(message.digest)
  })

  it('stands at these places', () => {
    expect(keyPlace(17)).toBe(frozen.own_key.place)
    expect(signaturePlace(17, 'exit')).toBe('messages:17:exit')
    expect(partialPlace(17, 3, 'deposit')).toBe('partial_signatures:17:3:deposit')
  })
})

describe('keys of exits', () => {
  it('are of one exit, and opened in its place alone', () => {
    expect(own(17)).toBe(own(17))
    expect(own(19)).toBeUndefined()
    expect(() => own(18)).toThrow(SealingError)
  })

  it('are new for each', () => {
    const keys = [1, 2].map((id) => toHex(master.open(sealNewKey(master, id), keyPlace(id))))
    expect(new Set(keys).size).toBe(2)
    for (const key of keys) expect(fromHex(key)).toHaveLength(32)
  })
})
