import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { expect, it } from 'vitest'
import { whyUnserved } from './unserved.ts'

const vaultOf = (byte: number) => Buffer.alloc(20, byte)
const keys = (vault: Buffer | null, free: number, reserved = 0) => ({ vault, free, reserved })
const OWN = vaultOf(0x11)

it('says of a vault that no lock names whose keys there are', () => {
  const named = (byte: number) => checksumAddress(vaultOf(byte))
  expect(whyUnserved(OWN, [keys(vaultOf(0x22), 5, 1), keys(vaultOf(0x33), 0)])).toBe(
    `no lock and no line of PUBLIC_KEYS_FILE names it: the 6 keys left can only go to ${named(0x22)}`,
  )
  expect(
    whyUnserved(
      OWN,
      [0x22, 0x33, 0x44, 0x55].map((byte) => keys(vaultOf(byte), 1)),
    ),
  ).toBe(
    `no lock and no line of PUBLIC_KEYS_FILE names it: the 4 keys left can only go to ${named(0x22)}, ${named(0x33)}, ${named(0x44)} and 1 more`,
  )
})

it('says that none is left, or that those it could have are not to be had', () => {
  expect(whyUnserved(OWN, [])).toMatch(/^no imported key is left/)
  expect(whyUnserved(OWN, [keys(OWN, 0), keys(null, 0)])).toMatch(/^no imported key is left/)
  for (const left of [keys(OWN, 0, 2), keys(null, 1)])
    expect(whyUnserved(OWN, [left, keys(vaultOf(0x22), 9)])).toMatch(/^the keys it could have are reserved/)
})
