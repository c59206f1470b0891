import { expect, it } from 'vitest'
import { idleConfig as config } from '../../../../test/support/stores/idle-config.ts'
import type { RelayerConfig } from '../config.ts'
import type { Context } from '../context.ts'
import { createServices } from './services.ts'
import type { SidecarLists } from './signatures/sidecar-lists.ts'

const wallet = { keyFile: '/none/key', passwordFile: '/none/password' }

/** The services of a role; nothing is asked of anybody while they are created. */
const create = (role: RelayerConfig['role'], lists: SidecarLists | undefined, more: Partial<RelayerConfig> = {}) => {
  const parts = { db: {}, chain: {}, crypto: {}, events: {}, logger: {}, queue: {}, registry: {}, sealing: {} }
  return createServices({ ...parts, config: { ...config, role, ...more } } as unknown as Context, lists)
}

it('a process finishes unless it answers requests alone, and answers where it has lists', async () => {
  const lists = {} as SidecarLists
  const has = async (role: RelayerConfig['role'], some?: SidecarLists) => {
    const { finishing, api } = await create(role, some)
    return { finishes: finishing !== undefined, answers: api !== undefined }
  }
  expect(await has('api', lists)).toEqual({ finishes: false, answers: true })
  expect(await has('worker')).toEqual({ finishes: true, answers: false })
  expect(await has('all', lists)).toEqual({ finishes: true, answers: true })
})

it('a process that answers requests alone never reads the key of the wallet that sends', async () => {
  const rotation = { ...config.rotation, enabled: true, wallet }
  for (const role of ['worker', 'all'] as const)
    await expect(create(role, undefined, { rotation })).rejects.toMatchObject({ code: 'ROTATION_WALLET_INVALID' })
  expect((await create('api', undefined, { rotation })).finishing).toBeUndefined()
})
