import { ROLES } from '@dvt-relayer/api/contract.ts'
import type { FastifyRequest } from 'fastify'
import { expect, it } from 'vitest'
import { ANYBODY, type Caller, signingOracle, UNBOUND } from '../auth/caller.ts'
import { accountOf } from './account-of.ts'

const from = (remoteAddress: string) => ({ socket: { remoteAddress } }) as FastifyRequest
const token = (name: string, role: Caller['role']): Caller => ({ name, role, ...UNBOUND })

it('is that of the token, wherever it comes from', () => {
  for (const address of ['127.0.0.1', '::ffff:10.0.0.7'])
    expect(accountOf(token('node-1', 'sidecar'), ['sidecar'], from(address))).toEqual({
      group: 'sidecar',
      name: 'node-1',
    })
})

it('is that of the oracle that signed', () => {
  const oracle = new Uint8Array(20).fill(1)
  expect(accountOf(signingOracle(oracle), ['oracle'], from('10.0.0.7'))).toEqual({
    group: 'oracle',
    name: `0x${'01'.repeat(20)}`,
  })
})

it('is that of the address without tokens, apart for what the route is for', () => {
  expect(accountOf(ANYBODY, ['operator'], from('::ffff:10.0.0.7'))).toEqual({ group: 'operator', name: '10.0.0.7' })
  expect(accountOf(ANYBODY, ['sidecar'], from('10.0.0.7'))).toEqual({ group: 'sidecar', name: '10.0.0.7' })
  expect(accountOf(token('watch', 'admin'), ROLES, from('10.0.0.7'))).toEqual({ group: 'admin', name: 'watch' })
})

it('is a stranger’s where anybody may call', () => {
  expect(accountOf(ANYBODY, 'public', from('10.0.0.7'))).toEqual({ group: 'stranger', name: '10.0.0.7' })
})
