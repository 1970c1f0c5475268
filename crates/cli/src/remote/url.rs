//! Where a server is: `http://127.0.0.1:7470`. A token never goes over a network in clear.

use std::net::IpAddr;

use hyper::Uri;
use model::fault::{Class, Fault};

/// Where a server is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Url {
    pub(super) is_tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// As it stands in the head of a request.
    pub(super) authority: String,
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let url = read(text).ok_or_else(|| {
            Fault::new(
                "SY5013",
                Class::Usage,
                format!("`{}` is no server", text.escape_debug()),
            )
            .with_help("write it as http://127.0.0.1:7470, or https://NAME:PORT")
        })?;
        if url.is_tls || is_here(&url.host) {
            return Ok(url);
        }
        Err(Fault::new(
            "SY5013",
            Class::Refused,
            format!(
                "{} is another host, and the token would go in clear",
                url.host
            ),
        )
        .with_help("use https://, or a tunnel: ssh -L 7470:127.0.0.1:7470 HOST"))
    }

    /// What a browser would call the place that a request comes from.
    pub(super) fn origin(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }

    /// A file's name that no other server has.
    pub(super) fn file_name(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        let place = format!("{scheme}_{}_{}", self.host.to_ascii_lowercase(), self.port);
        let fits = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '-' | '_');
        let name = place.chars().map(|it| if fits(it) { it } else { '_' });
        name.collect::<String>() + ".token"
    }
}

fn read(text: &str) -> Option<Url> {
    let uri: Uri = text.parse().ok()?;
    let (is_tls, usual) = match uri.scheme_str()? {
        "http" => (false, 80),
        "https" => (true, 443),
        _ => return None,
    };
    let authority = uri.authority()?;
    let is_plain = uri.path().trim_matches('/').is_empty() && uri.query().is_none();
    if !is_plain || authority.as_str().contains('@') || authority.host().is_empty() {
        return None;
    }
    // What stands there and is no port is not left out.
    let port = match authority.as_str().get(authority.host().len()..)? {
        "" => usual,
        rest => rest.strip_prefix(':')?.parse().ok().filter(|it| *it > 0)?,
    };
    Some(Url {
        is_tls,
        host: authority.host().trim_matches(['[', ']']).to_owned(),
        port,
        authority: authority.as_str().to_ascii_lowercase(),
    })
}

fn is_here(host: &str) -> bool {
    let address = host.parse().ok();
    host.eq_ignore_ascii_case("localhost") || address.is_some_and(|it: IpAddr| it.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_and_a_token_never_goes_in_clear() {
        let here = Url::parse("http://127.0.0.1:7470/").unwrap();
        assert_eq!((here.host.as_str(), here.port), ("127.0.0.1", 7470));
        assert_eq!(here.origin(), "http://127.0.0.1:7470");
        let six = Url::parse("http://[::1]:7470").unwrap();
        assert_eq!(six.host, "::1");
        let named = Url::parse("https://Ops.example").unwrap();
        assert_eq!((named.is_tls, named.port), (true, 443));
        for text in [
            "127.0.0.1:7470",
            "ftp://a",
            "http://",
            "https://me:secret@a",
            "https://a/b",
            "https://a?b",
            "https://a:99999",
            "",
        ] {
            assert_eq!(Url::parse(text).unwrap_err().class, Class::Usage, "{text}");
        }
        let clear = Url::parse("http://10.0.0.4:7470").unwrap_err();
        assert_eq!(clear.class, Class::Refused);
    }
}
