import { fromHex } from '@dvt-relayer/common/hex.ts'
import { expect, it } from 'vitest'
import { createKnownLocks } from './known-locks.ts'

const [HERE, REPLACED, IN_PART, STRANGE] = ['11', '22', '33', '44'].map((byte) => fromHex(byte.repeat(32), 32)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
]
const sizes = new Map([
  [HERE, { validators: 2, most: 2 }],
  [REPLACED, { validators: 0, most: 3 }],
  [IN_PART, { validators: 1, most: 3 }],
])
const locks = createKnownLocks({ nodeKeys: { sizeOf: async (lockHash) => sizes.get(lockHash) } })

it('of a lock that another one has replaced, charon is told to take that one', async () => {
  await expect(locks.assertBody(REPLACED, 10)).rejects.toMatchObject({
    code: 'LOCK_UNKNOWN',
    message: expect.stringContaining('was replaced here by another one'),
  })
  await expect(locks.assertBody(STRANGE, 10)).rejects.toMatchObject({
    code: 'LOCK_UNKNOWN',
    message: expect.stringContaining('CLUSTER_LOCK_FILES'),
  })
  await locks.assertBody(HERE, 10)
  await locks.assertExits(HERE, 2)
  await expect(locks.assertExits(HERE, 3)).rejects.toMatchObject({ code: 'TOO_MANY_SHARES' })
})

it('of a lock that another one has replaced in part, what is of the rest is read, though charon names all', async () => {
  await locks.assertExits(IN_PART, 3)
  const most = 256 * 1024 + 3 * 4096
  await locks.assertBody(IN_PART, most)
  await expect(locks.assertBody(IN_PART, most + 1)).rejects.toMatchObject({
    code: 'BODY_TOO_LARGE',
    message: expect.stringContaining(`3 validators at most, and a body for it at most ${most} bytes`),
  })
  await expect(locks.assertExits(IN_PART, 4)).rejects.toMatchObject({ code: 'TOO_MANY_SHARES' })
})
