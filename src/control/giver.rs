//! Who gives an order: the user at the other end of the control socket, as the kernel has it.

use std::fs;

/// Returns the name of the user, or its number if it has none. Read from the file: a directory
/// service may keep an order waiting.
pub(super) fn name(user: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_in(&users, user).unwrap_or_else(|| format!("uid {user}"))
}

fn name_in(users: &str, user: u32) -> Option<String> {
    let number = user.to_string();
    let mut lines = users.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)? == number && !name.is_empty()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\n\nbad\nalice:x:1000:0::/home:/bin/sh\n";
        assert_eq!(name_in(users, 0).as_deref(), Some("root"));
        assert_eq!(name_in(users, 1000).as_deref(), Some("alice"));
        assert_eq!(name_in(users, 100), None);
    }
}
