import { silentLogger } from '@dvt-relayer/common/logger.ts'
import type { FastifyRequest } from 'fastify'
import { describe, expect, it } from 'vitest'
import { createEvents } from '../events.ts'
import { createAuth, createToken, parseTokens } from './auth.ts'

const vault = '0x8ae5c1046158526cf236f74d8fb88fabe2e94aca'
const operator = createToken('operator-1', 'operator', vault)
const sidecar = createToken('node-2', 'sidecar', '2,3')
const admin = createToken('root', 'admin', '*')
const file = [`# our tokens`, '', operator.line, `${sidecar.line}  # second node`, admin.line].join('\n')

const auth = createAuth(parseTokens(file, 'tokens'), createEvents(silentLogger))
const request = (authorization?: string) => ({ headers: { authorization } }) as unknown as FastifyRequest
const basic = (password: string) => `Basic ${Buffer.from(`anyone:${password}`).toString('base64')}`

describe('tokens', () => {
  it('takes a token as Bearer and as Basic password', () => {
    for (const header of [`Bearer ${operator.token}`, `bearer ${operator.token}`, basic(operator.token)])
      expect(auth.authenticate(request(header), ['operator'], '/validators').name).toBe('operator-1')
  })

  it.each([
    [undefined, 'TOKEN_MISSING'],
    ['', 'TOKEN_MISSING'],
    ['Digest x', 'TOKEN_MISSING'],
    ['Bearer', 'TOKEN_MISSING'],
    ['Bearer wrong', 'TOKEN_UNKNOWN'],
    ['Basic !!!', 'TOKEN_MISSING'],
    [basic(''), 'TOKEN_UNKNOWN'],
    [`Bearer ${sidecar.token}`, 'TOKEN_ROLE'],
  ])('refuses %j with %s', (header, code) => {
    expect(() => auth.authenticate(request(header), ['operator'], '/validators')).toThrow(
      expect.objectContaining({ code }),
    )
  })

  it('lets an admin call everything and anybody call what is public', () => {
    expect(auth.authenticate(request(`Bearer ${admin.token}`), ['operator'], '/validators').role).toBe('admin')
    expect(auth.authenticate(request(), 'public', '/health').name).toBeNull()
  })

  it('binds a sidecar to its share indexes', () => {
    const caller = auth.authenticate(request(`Bearer ${sidecar.token}`), ['sidecar'], '/exits')
    expect(() => auth.assertShareIndex(caller, 3, '/exit-signature')).not.toThrow()
    expect(() => auth.assertShareIndex(caller, 1, '/exit-signature')).toThrow(
      expect.objectContaining({ code: 'TOKEN_BINDING' }),
    )
  })

  it('is open where no tokens are set', () => {
    expect(createAuth(undefined, createEvents(silentLogger)).authenticate(request(), ['operator'], '/').name).toBeNull()
  })

  it('names every faulty line of the file', () => {
    const bad = [
      'a operator',
      'b king * sha256:00',
      `c sidecar 0 sha256:${'0'.repeat(64)}`,
      `d operator 0x00 sha256:${'1'.repeat(64)}`,
      `e admin ${vault} sha256:${'2'.repeat(64)}`,
      'f operator * sha256:zz',
    ]
    expect(() => parseTokens(bad.join('\n'), 'tokens')).toThrow(
      /line 1[\s\S]*line 2[\s\S]*line 3[\s\S]*line 4[\s\S]*line 5[\s\S]*line 6/,
    )
    expect(() => parseTokens('# nothing\n', 'tokens')).toThrow('nobody could call')
    expect(() => parseTokens(`${admin.line}\n${admin.line}`, 'tokens')).toThrow('stands twice')
  })
})
