//! The user of a container's program: names looked up in the image's own passwd and group files, by docker's rules.

use super::error::RunError;
use super::root::Root;

/// The longest passwd or group file that is read.
const FILE_LIMIT: u64 = 4 << 20;
/// The most groups of a user. The kernel takes 65536, but runc needs four minutes for that many.
const MAX_GROUPS: usize = 4096;
const MAX_ID: u32 = i32::MAX as u32;

/// As whom a program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Other groups, sorted.
    pub groups: Vec<u32>,
    /// The home directory.
    pub home: String,
}

/// A line of passwd(5), as far as it matters here.
struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// A line of group(5).
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// The identity of `text`, `USER[:GROUP]` with names or numbers, in the image at `root`. Empty is root.
///
/// # Errors
/// [`RunError::NoUser`], [`RunError::NoGroup`], [`RunError::IdRange`]; the files cannot be used.
pub fn look_up(root: &Root, text: &str) -> Result<Identity, RunError> {
    let read = |path| root.read(path, FILE_LIMIT).map(Option::unwrap_or_default);
    resolve(text, &read("/etc/passwd")?, &read("/etc/group")?)
}

/// [`look_up`] in the content of the two files.
fn resolve(text: &str, passwd: &[u8], group: &[u8]) -> Result<Identity, RunError> {
    let (wanted, wanted_group) = text.split_once(':').map_or((text, ""), |(user, group)| (user, group));
    let passwd = String::from_utf8_lossy(passwd);
    let group = String::from_utf8_lossy(group);
    let wanted = if wanted.is_empty() { "0" } else { wanted };
    let number = id(wanted)?;
    let user = users(&passwd).find(|user| user.name == wanted || Some(user.uid) == number);
    let mut identity = match (&user, number) {
        (Some(user), _) => Identity {
            uid: user.uid,
            gid: user.gid,
            groups: Vec::new(),
            home: if user.home.is_empty() { "/" } else { user.home }.to_owned(),
        },
        (None, Some(uid)) => Identity { uid, gid: 0, groups: Vec::new(), home: "/".to_owned() },
        (None, None) => return Err(RunError::NoUser(wanted.to_owned())),
    };
    if !wanted_group.is_empty() {
        identity.gid = find_group(wanted_group, &group)?;
    } else if let Some(user) = user {
        identity.groups = groups_of(user.name, &group)?;
    }
    Ok(identity)
}

/// The group of a name or number.
fn find_group(wanted: &str, file: &str) -> Result<u32, RunError> {
    let number = id(wanted)?;
    let found = groups(file).find(|group| group.name == wanted || Some(group.gid) == number);
    found.map(|group| group.gid).or(number).ok_or_else(|| RunError::NoGroup(wanted.to_owned()))
}

/// The groups that a user is a member of.
fn groups_of(name: &str, file: &str) -> Result<Vec<u32>, RunError> {
    let member = |group: &Group<'_>| group.members.split(',').any(|member| member.trim() == name);
    let mut gids: Vec<u32> = groups(file).filter(member).map(|group| group.gid).collect();
    gids.sort_unstable();
    gids.dedup();
    match gids.len() {
        0..=MAX_GROUPS => Ok(gids),
        count => Err(RunError::Groups { user: name.to_owned(), count, most: MAX_GROUPS }),
    }
}

/// The number that `text` is; `None` where it is a name.
fn id(text: &str) -> Result<Option<u32>, RunError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse() {
        Ok(number) if number <= MAX_ID => Ok(Some(number)),
        _ => Err(RunError::IdRange(text.to_owned())),
    }
}

/// The lines of a passwd file; those of another shape are passed over.
fn users(file: &str) -> impl Iterator<Item = User<'_>> {
    file.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = number(fields.nth(1)?)?;
        let gid = number(fields.next()?)?;
        Some(User { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    })
}

/// The lines of a group file; those of another shape are passed over.
fn groups(file: &str) -> impl Iterator<Item = Group<'_>> {
    file.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = number(fields.nth(1)?)?;
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    })
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number <= MAX_ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nbad line\nann:x:1000:100:,,:/home/ann:/bin/sh\n\
        7:x:8:8::/seven:\nhuge:x:99999999999:1::/:\nbare:x:5:6\n";
    const GROUP: &[u8] = b"root:x:0:\nusers:x:100:\nwheel:x:10:root,ann\naudio:x:29:bob, ann\nten:x:10:ann\n";

    fn found(text: &str) -> (u32, u32, Vec<u32>, String) {
        let identity = resolve(text, PASSWD, GROUP).expect(text);
        (identity.uid, identity.gid, identity.groups, identity.home)
    }

    #[test]
    fn users_and_groups_are_looked_up_as_docker_does() {
        assert_eq!(found(""), (0, 0, vec![10], "/root".into()));
        assert_eq!(found("ann"), (1000, 100, vec![10, 29], "/home/ann".into()));
        assert_eq!(found("1000"), found("ann"));
        assert_eq!(found("ann:wheel"), (1000, 10, vec![], "/home/ann".into()));
        assert_eq!(found("ann:4711").1, 4711);
        assert_eq!(found(":wheel"), (0, 10, vec![], "/root".into()));
        assert_eq!(found("4711"), (4711, 0, vec![], "/".into()));
        assert_eq!(found("7").0, 8, "a name of digits goes first");
        assert_eq!(found("bare"), (5, 6, vec![], "/".into()));
    }

    #[test]
    fn errors_are_worded_as_by_docker() {
        let error = |text: &str| resolve(text, PASSWD, GROUP).expect_err(text).to_string();
        assert_eq!(error("eve"), "unable to find user eve: no matching entries in passwd file");
        assert_eq!(error("huge"), "unable to find user huge: no matching entries in passwd file");
        assert_eq!(error("ann:eve"), "unable to find group eve: no matching entries in group file");
        for text in ["2147483648", "-1", "ann:99999999999"] {
            assert!(error(text).contains("range 0-2147483647"), "{text}");
        }
    }

    #[test]
    fn a_user_of_too_many_groups_is_refused() {
        let file: String = (1..=4097).map(|n| format!("g{n}:x:{n}:ann\n")).collect();
        let refused = resolve("ann", PASSWD, file.as_bytes()).expect_err("too many").to_string();
        assert!(refused.starts_with("user ann is in 4097 groups"), "{refused}");
        assert_eq!(resolve("ann:g7", PASSWD, file.as_bytes()).expect("good").gid, 7);
    }

    #[test]
    fn numbers_need_no_files() {
        let identity = resolve("5:6", b"", &[0xff, b'\n']).expect("good");
        assert_eq!((identity.uid, identity.gid, identity.home.as_str()), (5, 6, "/"));
        assert_eq!(resolve("", b"", b"").expect("good").uid, 0);
    }
}
