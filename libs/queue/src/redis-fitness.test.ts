import { expect, it } from 'vitest'
import { redisFault } from './redis-fitness.ts'

/** As Redis says them; a script's refusal has more before or behind it. */
it.each([
  ['NOAUTH Authentication required.', /wants a password/],
  ['WRONGPASS invalid username-password pair or user is disabled.', /refuses the user or the password/],
  ["NOPERM this user has no permissions to run the 'eval' command", /lacks rights/],
  [
    "ERR The user executing the script can't run this command or subcommand script: f00, on @user_script:1.",
    /lacks rights/,
  ],
  ["READONLY You can't write against a read only replica. script: f00, on @user_script:1.", /read-only replica/],
  ["MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", /lost its primary/],
  ['LOADING Redis is loading the dataset in memory', /is loading its data/],
  ["OOM command not allowed when used memory > 'maxmemory'.", /is full/],
  ['-OOM command not allowed when used memory', /is full/],
  ['MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist to disk.', /its disk/],
  ['NOREPLICAS Not enough good replicas to write.', /without more replicas/],
  ['MOVED 3999 127.0.0.1:6381', /node of a cluster/],
  ['CLUSTERDOWN Hash slot not served', /node of a cluster/],
  ['DENIED Redis is running in protected mode because protected mode is enabled', /protected mode/],
  ['ERR max number of clients reached', /no more clients/],
  ['ERR DB index is out of range', /no database of the number/],
])('%s', (message, words) => {
  expect(redisFault(new Error(message))).toMatch(words)
})

it('says nothing of what it does not know, and repeats nothing of it', () => {
  expect(redisFault(new Error('ERR secret'))).toBeUndefined()
  expect(redisFault(undefined)).toBeUndefined()
  expect(redisFault(Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }))).toBe(
    'Redis cannot be reached (ECONNREFUSED)',
  )
  expect(redisFault(Object.assign(new Error('x'), { code: 'CERT_HAS_EXPIRED' }))).toMatch(
    /by TLS: its certificate has expired/,
  )
})
